"""The linear probe on codes whose labels are known to be readable, or not."""

import pytest
import torch

from vaebalance.evaluation.probe import linear_probe


def normal(count, latents, seed=0):
    return torch.randn(count, latents, generator=torch.Generator().manual_seed(seed))


def test_a_label_that_is_linear_in_the_code_is_read():
    codes, test = normal(500, 4), normal(300, 4, 1)
    found = linear_probe(codes, (codes[:, 1] > 0).long(), test, (test[:, 1] > 0).long())
    assert found.accuracy.value > 0.97
    assert found.accuracy.tested == 300
    assert found.chance == pytest.approx(0.5, abs=0.08)


def test_the_codes_scale_does_not_matter():
    codes, test = normal(400, 2), normal(300, 2, 1)
    labels = [(points.sum(1) > 0).long() for points in (codes, test)]
    scale = torch.tensor([1e-3, 1e3])
    plain = linear_probe(codes, labels[0], test, labels[1]).accuracy.value
    scaled = linear_probe(codes * scale, labels[0], test * scale, labels[1]).accuracy.value
    assert scaled == pytest.approx(plain, abs=0.02)


def test_noise_gives_chance_and_a_nonlinear_label_hardly_more():
    codes, test = normal(800, 2), normal(800, 2, 1)
    labels = (torch.arange(800) % 4 == 0).long()
    noise = linear_probe(codes, labels, test, labels)
    assert noise.chance == 0.75
    assert noise.accuracy.value == pytest.approx(0.75, abs=0.03)
    exclusive = [(points.prod(1) > 0).long() for points in (codes, test)]
    assert linear_probe(codes, exclusive[0], test, exclusive[1]).accuracy.value < 0.6


def test_chance_is_of_the_commonest_training_label_on_the_test_images():
    labels, test_labels = torch.tensor([0] * 30 + [1] * 10), torch.tensor([0] * 5 + [1] * 15)
    found = linear_probe(normal(40, 1), labels, normal(20, 1, 1), test_labels)
    assert found.chance == 0.25


def test_images_without_a_label_are_left_out():
    codes, test = normal(300, 2), normal(300, 2, 1)
    labels, test_labels = (codes[:, 0] > 0).long(), (test[:, 0] > 0).long()
    clean = linear_probe(codes[:200], labels[:200], test[:200], test_labels[:200])
    labels[200:], test_labels[200:] = -1, -1
    assert linear_probe(codes, labels, test, test_labels) == clean


@pytest.mark.parametrize(
    ("labels", "test_labels"), [([-1] * 6, [0, 1]), ([3] * 6, [3, 3]), ([0, 1] * 3, [-1, -1])]
)
def test_without_labels_to_learn_and_to_read_there_is_no_probe(labels, test_labels):
    labels, test_labels = torch.tensor(labels), torch.tensor(test_labels)
    assert linear_probe(normal(6, 2), labels, normal(2, 2), test_labels) is None
