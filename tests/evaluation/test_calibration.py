"""The calibrated Gaussian, which makes models of any likelihood comparable."""

import math
from typing import get_args

import pytest
import torch
from torch.distributions import Normal

from vaebalance.base.errors import UserError
from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nlls
from vaebalance.evaluation.calibration import CalibratedGaussian, calibrate
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, Likelihood, Rmse

CPU = torch.device("cpu")
EVERY_LIKELIHOOD = [member() for member in get_args(get_args(Likelihood)[0])]


def test_sigma_is_the_root_mean_squared_error_of_the_reconstructions(make_vae, make_images):
    model, images = make_vae(Rmse(), "deterministic"), make_images(130, (1, 8, 8))
    sigma = calibrate(model, images, batch_size=50, seed=0).sigma
    x = images.pixels(slice(None), CPU)
    errors = (torch.sigmoid(model.decoder(model.encoder(x))) - x).detach().double()
    assert sigma == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-6)


@pytest.mark.parametrize("likelihood", [Rmse(), Bernoulli()], ids=lambda member: member.kind)
def test_sigma_gives_the_least_distortion_of_the_split(make_vae, make_images, likelihood):
    model, images = make_vae(likelihood), make_images(400, (1, 8, 8))
    sigma = calibrate(model, images, batch_size=64, seed=0).sigma

    def distortion(scale):
        score = CalibratedGaussian(scale)
        parts = elbo_parts(model, images, samples=8, batch_size=512, seed=1, score=score)
        return parts.distortion

    best = distortion(sigma)
    assert best < distortion(0.95 * sigma)
    assert best < distortion(1.05 * sigma)
    least = 64 / 2 * math.log(2 * math.pi * math.e * sigma**2)
    assert best == pytest.approx(least, abs=0.1)


@pytest.mark.parametrize("likelihood", EVERY_LIKELIHOOD, ids=lambda member: member.kind)
def test_the_score_is_the_normal_density_about_the_mean(make_vae, make_images, likelihood):
    model, x = make_vae(likelihood), make_images(5, (1, 8, 8)).pixels(slice(None), CPU)
    with torch.no_grad():
        pixels = model.decode(torch.randn(7, 5, 3))
    found = CalibratedGaussian(0.3)(pixels, x)
    expected = Normal(pixels.mean.double(), 0.3).log_prob(x.double()).sum((-3, -2, -1))
    assert found.shape == (7, 5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_a_linear_gaussian_model_finds_its_own_sigma_and_nll(linear_gaussian, make_images):
    """Expect the data's σ and the exact nll from a model with the right decoder."""
    model = linear_gaussian(sigma=0.05, scales=(0.2, 0.1))  # pixels in [0, 1]
    images = make_images(1500)
    images.stored[:] = (model.draw(1500) * 255).round().clamp(0, 255).to(torch.uint8)
    gaussian = calibrate(model, images, batch_size=64, seed=0)
    assert gaussian.sigma == pytest.approx(0.05, rel=0.02)
    found, calibrated = importance_weighted_nlls(
        model,
        images,
        [lambda p, x: p.log_prob(x), gaussian],
        samples=30,
        batch_size=1024,
        seed=0,
    )
    exact = model.nll(images.pixels(slice(None), CPU)).mean().item()
    assert found.mean == pytest.approx(exact, abs=1e-4)
    assert calibrated.mean == pytest.approx(exact, abs=0.02)
    assert calibrated.standard_error == pytest.approx(found.standard_error, rel=0.05)


def test_models_that_differ_in_the_likelihood_alone_have_one_calibrated_nll(make_vae, make_images):
    """Read the same weights as BCE, as a Gaussian of any σ, and as RMSE."""
    images = make_images(60, (1, 8, 8))
    found = []
    for likelihood in (Bernoulli(), Gaussian(sigma=0.01), Gaussian(sigma=3.0), Rmse()):
        model = make_vae(likelihood)
        score = calibrate(model, images, batch_size=64, seed=0)
        (bound,) = importance_weighted_nlls(
            model, images, [score], samples=20, batch_size=64, seed=0
        )
        found.append(bound.mean)
    assert found == pytest.approx([found[0]] * 4, rel=1e-6)


@pytest.mark.parametrize("bias", [-200.0, math.nan])
def test_without_an_error_to_fit_the_message_says_so(make_vae, make_images, bias):
    model, images = make_vae(Rmse()), make_images(5, (1, 8, 8))
    images.stored[:] = 0
    torch.nn.init.constant_(model.decoder[-2].bias, bias)  # sigmoid(−200) is 0: an exact black
    with pytest.raises(UserError, match=r"Rmse.*mean squared error is (0\.0|nan)"):
        calibrate(model, images, batch_size=64, seed=0)
