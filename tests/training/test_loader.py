"""Batches of stored images: from memory, from a device, or read ahead."""

import pytest
import torch

from vaebalance.training import loader as module
from vaebalance.training.loader import AHEAD, Images

CPU = torch.device("cpu")


def make_images(count=23):
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 256, (count, 1, 3, 3), generator=generator, dtype=torch.uint8)
    return Images(stored, "none")


@pytest.mark.parametrize("memory", [10**9, 0])
@pytest.mark.parametrize("size", [1, 4, 23, 50])
def test_batches_are_in_order_at_hand_or_read_ahead(monkeypatch, memory, size):
    monkeypatch.setattr(module, "working_memory", lambda: memory)
    images, order = make_images(), torch.randperm(23)
    found = list(images.batches(order, size, CPU))
    expected = [images.stored[part] for part in order.split(size)]
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


def test_no_more_is_read_than_a_few_batches_ahead(monkeypatch):
    monkeypatch.setattr(module, "working_memory", lambda: 0)
    read = []

    def noted(self, indices, *, pin):
        read.append(indices)
        return self.stored[indices]

    monkeypatch.setattr(Images, "_read", noted)
    batches = make_images(100).batches(torch.arange(100), 1, CPU)
    assert next(batches).shape == (1, 1, 3, 3)
    batches.close()
    assert len(read) <= 1 + AHEAD


def test_an_error_in_reading_is_raised_where_the_batch_is_asked_for(monkeypatch):
    monkeypatch.setattr(module, "working_memory", lambda: 0)
    batches = make_images(4).batches(torch.tensor([0, 1, 2, 99]), 1, CPU)
    for _ in range(3):
        next(batches)
    with pytest.raises(IndexError):
        next(batches)


def test_images_stay_where_they_are_without_a_device_of_their_own():
    images = make_images()
    assert images.to(CPU) is images


def test_dynamic_pixels_are_drawn_anew_by_the_generator():
    images = Images(make_images().stored, "dynamic")
    first, again, other = (
        images.pixels(slice(None), CPU, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.unique().tolist()) == {0.0, 1.0}
