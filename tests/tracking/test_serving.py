"""The four calls against the model itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.tracking.serving import BATCH, Request, answer


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)


def test_encode_and_decode_are_the_models(vae, images):
    encoded = answer(vae, Request("encode", images=images))
    with torch.inference_mode():
        posterior = vae.encode(torch.from_numpy(images))
        decoded = vae.decode(posterior.mean).mean
    np.testing.assert_allclose(encoded["mean"], posterior.mean, rtol=1e-6)
    np.testing.assert_allclose(encoded["standard_deviation"], posterior.stddev, rtol=1e-6)
    for request in (
        Request("decode", latents=encoded["mean"].tolist()),
        Request("reconstruct", images=images.tolist()),
    ):
        np.testing.assert_allclose(answer(vae, request)["images"], decoded, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 8, 8), (5, 64)])
def test_images_may_come_nested_grey_or_flat(vae, images, shape):
    expected = answer(vae, Request("reconstruct", images=images))["images"]
    got = answer(vae, Request("reconstruct", images=images.reshape(shape).tolist()))["images"]
    np.testing.assert_array_equal(got, expected)
    assert got.shape == (5, 1, 8, 8)


def test_many_images_are_answered_in_batches(vae):
    images = np.random.default_rng(0).random((BATCH + 3, 64), dtype=np.float32)
    encoded = answer(vae, Request("encode", images=images))["mean"]
    assert encoded.shape == (BATCH + 3, 3)
    np.testing.assert_allclose(
        encoded[-3:], answer(vae, Request("encode", images=images[-3:]))["mean"], rtol=1e-5
    )


def test_samples_depend_on_the_seed_alone(vae):
    first = answer(vae, Request("sample", n=4, seed=1))["images"]
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(answer(vae, Request("sample", n=4, seed=1))["images"], first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not np.array_equal(answer(vae, Request("sample", n=4, seed=2))["images"], first)
    assert first.shape == (4, 1, 8, 8)
    assert first.min() >= 0
    assert first.max() <= 1


def test_an_autoencoder_answers_all_but_sample(autoencoder, images):
    encoded = answer(autoencoder, Request("encode", images=images))
    assert not encoded["standard_deviation"].any()
    assert answer(autoencoder, Request("decode", latents=encoded["mean"]))["images"].shape[0] == 5
    with pytest.raises(UserError, match=r"plain autoencoder.*decode"):
        answer(autoencoder, Request("sample"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("dream"), "'dream'; it must be one of reconstruct, encode, decode, sample"),
        (Request(), "''; it must be one of"),
        (Request("encode"), "'encode' needs images"),
        (Request("decode", images=[[0.0] * 64]), "'decode' needs latents"),
        (Request("decode", latents=[]), "'decode' needs latents"),
        (Request("encode", images=np.zeros((2, 7, 7))), "[2, 7, 7]; it must be [N, 1, 8, 8] or"),
        (Request("encode", images=np.zeros((1, 3, 8, 8))), "[1, 3, 8, 8]; it must be"),
        (Request("encode", images=[[0.0], [0.0, 1.0]]), "every item of the same shape"),
        (Request("encode", images=[["black"] * 64]), "must be numbers"),
        (Request("encode", images=np.full((1, 64), 255)), "divide 8-bit values by 255"),
        (Request("encode", images=np.full((1, 64), np.nan)), "between 0 and 1"),
        (Request("decode", latents=[[0.0, 0.0]]), "[1, 2]; it must be [N, 3]"),
        (Request("decode", latents=[[0.0, 0.0, np.inf]]), "must be finite"),
        (Request("sample", n=0), "params.n is 0"),
        (Request("sample", n=10**9), "params.n is 1000000000"),
        (Request("sample", seed=-1), "params.seed is -1"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_allowed(vae, request_, message):
    with pytest.raises(UserError, match=re.escape(message)):
        answer(vae, request_)
