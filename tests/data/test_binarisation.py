"""Black and white, drawn with the right probabilities."""

import hashlib

import numpy as np
import pytest
import torch

from vaebalance.data import to_pixels
from vaebalance.data.binarisation import binarise

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def grey_levels(copies: int) -> tuple[np.ndarray, list[bytes]]:
    """Make images [copies, 1, 16, 16] with all 256 levels in each."""
    images = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (copies, 1, 1, 1))
    return images, [hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(copies)]


def assert_probabilities(white: np.ndarray, draws: int) -> None:
    """Expect the share of white at grey level g to be g/255 within five standard deviations."""
    probability = np.arange(256) / 255
    tolerance = 5 * np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(white - probability) <= tolerance).all()  # exact at 0 and at 255


def test_static_draws_white_with_the_grey_level_as_probability() -> None:
    images, digests = grey_levels(4000)
    drawn = binarise(images, digests, "static", seed=0)
    assert set(np.unique(drawn)) == {0, 255}
    assert_probabilities((drawn == 255).mean(0).ravel(), 4000)


def test_static_depends_on_seed_and_own_content_only() -> None:
    images, digests = grey_levels(5)
    drawn = binarise(images, digests, "static", seed=0)
    np.testing.assert_array_equal(binarise(images[3:4], digests[3:4], "static", 0)[0], drawn[3])
    assert (binarise(images, digests, "static", seed=1) != drawn).any()
    assert (drawn[0] != drawn[1]).any()


def test_threshold_is_at_one_half() -> None:
    images, digests = grey_levels(1)
    drawn = binarise(images, digests, "threshold", seed=0).ravel()
    np.testing.assert_array_equal(drawn, np.where(np.arange(256) / 255 >= 0.5, 255, 0))


@pytest.mark.parametrize("binarisation", ["none", "threshold", "static"])
def test_stored_bytes_become_their_share_of_white(binarisation: str) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    pixels = to_pixels(images, binarisation)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels.double() * 255, images.double(), atol=1e-5, rtol=0)
    assert pixels.max() == 1
    assert images.flatten()[-1] == 255  # the stored images are not touched


@pytest.mark.parametrize("device", DEVICES)
def test_dynamic_draws_anew_with_the_grey_level_as_probability(device: str) -> None:
    images = torch.from_numpy(grey_levels(4000)[0]).to(device)
    generator = torch.Generator(device).manual_seed(0)
    first = to_pixels(images, "dynamic", generator)
    second = to_pixels(images, "dynamic", generator)
    assert first.device == images.device
    assert first.dtype == torch.float32
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert (first != second).any()
    assert_probabilities(first.mean(0).flatten().cpu().numpy(), 4000)
    again = to_pixels(images, "dynamic", torch.Generator(device).manual_seed(0))
    torch.testing.assert_close(again, first)


def test_dynamic_without_a_generator_follows_the_global_seed() -> None:
    images = torch.full((1, 1, 8, 8), 100, dtype=torch.uint8)
    torch.manual_seed(5)
    first = to_pixels(images, "dynamic")
    torch.manual_seed(5)
    torch.testing.assert_close(to_pixels(images, "dynamic"), first)


def test_a_misspelt_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="dynamc"):
        to_pixels(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "dynamc")
