"""A trial's picture: its content, and the same bytes for the same model."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vaebalance.study.search.trial_picture import COLUMNS, draw
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec

CELL, GAP, MARGIN = 56, 4, 12  # pixels of an 8x8 image enlarged seven times


def model_of(posterior: str = "gaussian", seed: int = 0) -> VAE:
    architecture = {"kind": "mlp", "hidden": (16,)}
    spec = ModelSpec.model_validate(
        {"architecture": architecture, "latent_size": 3, "posterior": posterior}
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VAE(spec, Bernoulli(kind="bernoulli"), (1, 8, 8)).eval()


def cells(content: bytes, rows: int) -> np.ndarray:
    """Return the grey values [rows, columns, 8, 8] of the cells, without the names."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert pixels.shape[0] == rows * (CELL + GAP) - GAP + 2 * MARGIN
    left = pixels.shape[1] - MARGIN - COLUMNS * (CELL + GAP) + GAP
    return np.array(
        [
            [
                pixels[top : top + CELL : 7, start : start + CELL : 7]
                for start in (left + column * (CELL + GAP) for column in range(COLUMNS))
            ]
            for top in (MARGIN + row * (CELL + GAP) for row in range(rows))
        ]
    )


def test_it_shows_images_their_reconstructions_and_samples(digits):
    model = model_of()
    images, reconstructed, samples = cells(draw(model, digits, 0), 3)
    stored = digits.images("validation").numpy()[:, 0]
    assert all(any((image == s).all() for s in stored) for image in images)
    x = torch.from_numpy(images).float()[:, None] / 255
    with torch.no_grad():
        expected = model.decode(model.encode(x).mean).mean[:, 0] * 255
    np.testing.assert_allclose(reconstructed, expected.round(), atol=1)
    assert len(np.unique(samples, axis=0)) == COLUMNS


def test_the_same_model_has_the_same_picture_and_another_another(digits):
    first = draw(model_of(), digits, 0)
    state = torch.get_rng_state()
    assert draw(model_of(), digits, 0) == first
    assert torch.equal(torch.get_rng_state(), state)
    others = [draw(model_of(seed=1), digits, 0), draw(model_of(), digits, 1)]
    assert first not in others
    assert len(first) < 20_000


def test_an_autoencoder_is_not_sampled(digits):
    images, reconstructed = cells(draw(model_of("deterministic"), digits, 0), 2)
    assert (images != reconstructed).any()


@pytest.mark.parametrize("name", ["image", "reconstruction", "prior sample"])
def test_rows_are_named_outside_of_the_pictures(digits, name):
    """The names are to the left of the pictures."""
    picture = Image.open(io.BytesIO(draw(model_of(), digits, 0))).convert("L")
    row = ["image", "reconstruction", "prior sample"].index(name)
    top = MARGIN + row * (CELL + GAP)
    left = picture.width - MARGIN - COLUMNS * (CELL + GAP) + GAP
    beside = np.asarray(picture.crop((0, top, left - GAP, top + CELL)))
    assert (beside < 200).sum() > 20
