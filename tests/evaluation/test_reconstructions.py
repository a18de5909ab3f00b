"""RMSE, PSNR and SSIM against plain NumPy."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from vaebalance.evaluation import reconstructions
from vaebalance.evaluation.reconstructions import (
    reconstruction_quality,
    ssim_window,
    structural_similarity,
)
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, Rmse

CPU = torch.device("cpu")


def plain_ssim(a: np.ndarray, b: np.ndarray, window: int, sigma: float) -> float:
    """Compute equation 13 of Wang et al. 2004 for images [C, H, W], position by position."""
    radius = window // 2
    offsets = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    gaussian /= gaussian.sum()
    values = []
    for one, two in zip(a, b, strict=True):
        one, two = (np.pad(image, radius, mode="reflect") for image in (one, two))
        for row in range(a.shape[1]):
            for column in range(a.shape[2]):
                part = slice(row, row + window), slice(column, column + window)
                p, q = one[part], two[part]
                mean_p, mean_q = (gaussian * p).sum(), (gaussian * q).sum()
                variance_p = (gaussian * (p - mean_p) ** 2).sum()
                variance_q = (gaussian * (q - mean_q) ** 2).sum()
                covariance = (gaussian * (p - mean_p) * (q - mean_q)).sum()
                luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
                values.append(
                    luminance * (2 * covariance + 9e-4) / (variance_p + variance_q + 9e-4)
                )
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("shape", "window", "sigma"),
    [
        ((1, 8, 8), 7, 0.9),
        ((1, 28, 28), 11, 1.5),
        ((3, 16, 16), 11, 1.5),
        ((3, 5, 20), 5, 0.6),
        ((1, 3, 4), 3, 0.3),
    ],
)
def test_ssim_is_the_published_formula(shape, window, sigma):
    torch.manual_seed(0)
    a = torch.rand(3, *shape)
    b = (a + 0.2 * torch.randn_like(a)).clamp(0, 1)
    assert ssim_window(a.shape) == window
    found = structural_similarity(a, b)
    expected = [
        plain_ssim(p, q, window, sigma)
        for p, q in zip(a.double().numpy(), b.double().numpy(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, abs=2e-4)
    assert structural_similarity(a, a).tolist() == pytest.approx([1.0] * 3)


def test_an_image_too_small_for_any_window_has_no_ssim(make_vae, make_images):
    model, images = make_vae(shape=(1, 2, 8)), make_images(10, (1, 2, 8))
    quality = reconstruction_quality(model, images, batch_size=4)
    assert quality.ssim is None
    assert quality.rmse > 0


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(), Rmse()])
@pytest.mark.parametrize("posterior", ["gaussian", "deterministic"])
def test_quality_is_of_the_mean_of_the_likelihood_at_the_posterior_mean(
    make_vae, make_images, likelihood, posterior
):
    shape = (3, 8, 8)
    model, images = make_vae(likelihood, posterior, shape), make_images(25, shape)
    x = images.pixels(slice(None), CPU)
    code = model.encoder(x)[:, :3]
    reconstruction = torch.sigmoid(model.decoder(code)).detach().double().numpy()
    squared_error = ((reconstruction - x.double().numpy()) ** 2).mean(axis=(1, 2, 3))
    ssim = [
        plain_ssim(p, q, 7, 0.9) for p, q in zip(reconstruction, x.double().numpy(), strict=True)
    ]
    for batch_size in (4, 100):
        quality = reconstruction_quality(model, images, batch_size=batch_size)
        assert quality.rmse == pytest.approx(np.sqrt(squared_error).mean(), rel=1e-5)
        assert quality.psnr == pytest.approx(10 * np.log10(1 / squared_error.mean()), rel=1e-5)
        assert quality.ssim == pytest.approx(np.mean(ssim), abs=1e-4)


def test_rmse_is_averaged_over_images_and_psnr_over_squares(make_images):
    """Use errors of 0.1 and 0.3: RMSE 0.2, MSE 0.05; the root of the mean would be 0.2236."""

    class Off:
        prior = Independent(Normal(torch.zeros(1), torch.ones(1)), 1)

        def encode(self, x):
            return Independent(Normal(x.flatten(1)[:, :1], 1.0), 1)

        def decode(self, z):
            error = torch.where(z < 0.5, 0.1, 0.3)
            return Independent(Normal((z + error)[..., None, None].expand(-1, 1, 8, 8), 1.0), 3)

    images = make_images(2, (1, 8, 8))
    images.stored[0], images.stored[1] = 51, 153
    quality = reconstruction_quality(Off(), images, batch_size=10)
    assert quality.rmse == pytest.approx(0.2, rel=1e-5)
    assert quality.psnr == pytest.approx(-10 * np.log10(0.05), rel=1e-5)


def test_no_more_images_than_a_chunk_are_smoothed_at_once(make_images, monkeypatch):
    class Grey:
        prior = Independent(Normal(torch.zeros(1), torch.ones(1)), 1)

        def encode(self, x):
            return Independent(Normal(x.flatten(1).mean(1, keepdim=True), 1.0), 1)

        def decode(self, z):
            return Independent(Normal(z[..., None, None].expand(-1, 1, 8, 8), 1.0), 3)

    seen = []

    def watch(a, b):
        seen.append(len(a))
        return structural_similarity(a, b)

    monkeypatch.setattr(reconstructions, "structural_similarity", watch)
    images = make_images(150, (1, 8, 8))
    quality = reconstruction_quality(Grey(), images, batch_size=1000)
    assert seen == [64, 64, 22]
    x = images.pixels(slice(None), CPU)
    whole = structural_similarity(x.mean((1, 2, 3), keepdim=True).expand_as(x), x)
    assert quality.ssim == pytest.approx(float(whole.double().mean()), abs=1e-6)
