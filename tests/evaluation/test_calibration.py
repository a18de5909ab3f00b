"""The Gaussian that scores a likelihood which is no density."""

import math

import pytest
import torch

from vaebalance.errors import UserError
from vaebalance.evaluation import elbo_parts
from vaebalance.evaluation.calibration import calibrated_sigma, with_likelihood
from vaebalance.likelihoods import Gaussian, GaussianLearned, GaussianPerPixel, Rmse, Sse

CPU = torch.device("cpu")


def test_sigma_is_the_root_mean_squared_error_of_the_reconstructions(make_vae, make_images):
    model, images = make_vae(Rmse(), "deterministic"), make_images(130, (1, 8, 8))
    sigma = calibrated_sigma(model, images, batch_size=50, seed=0)
    x = images.pixels(slice(None), CPU)
    errors = (torch.sigmoid(model.decoder(model.encoder(x))) - x).detach().double()
    assert sigma == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-6)


def test_sigma_gives_the_least_distortion_of_the_split(make_vae, make_images):
    model, images = make_vae(Rmse()), make_images(400, (1, 8, 8))
    sigma = calibrated_sigma(model, images, batch_size=64, seed=0)

    def distortion(scale):
        scored = with_likelihood(model, Gaussian(sigma=scale))
        return elbo_parts(scored, images, samples=8, batch_size=512, seed=1).distortion

    best = distortion(sigma)
    assert best < distortion(0.95 * sigma)
    assert best < distortion(1.05 * sigma)
    least = 64 / 2 * math.log(2 * math.pi * math.e * sigma**2)
    assert best == pytest.approx(least, abs=0.1)


def test_another_likelihood_shares_the_weights_and_leaves_the_model_alone(make_vae, make_images):
    model = make_vae(Rmse())
    scored = with_likelihood(model, Gaussian(sigma=0.3))
    assert (model.likelihood, scored.likelihood) == (Rmse(), Gaussian(sigma=0.3))
    assert all(a is b for a, b in zip(model.parameters(), scored.parameters(), strict=True))
    z = torch.randn(4, 3)
    assert torch.equal(model.decode(z).mean, scored.decode(z).mean)


@pytest.mark.parametrize(
    ("trained", "other"),
    [(GaussianPerPixel(), Gaussian()), (Rmse(), GaussianPerPixel()), (Sse(), GaussianLearned())],
)
def test_a_decoder_made_for_other_outputs_is_not_read(make_vae, trained, other):
    with pytest.raises(ValueError, match="cannot read a decoder"):
        with_likelihood(make_vae(trained), other)


@pytest.mark.parametrize("bias", [-200.0, math.nan])
def test_without_an_error_to_fit_the_message_says_so(make_vae, make_images, bias):
    model, images = make_vae(Rmse()), make_images(5, (1, 8, 8))
    images.stored[:] = 0
    torch.nn.init.constant_(model.decoder[-2].bias, bias)  # sigmoid(−200) is 0: an exact black
    with pytest.raises(UserError, match=r"rmse.*mean squared error is (0\.0|nan)"):
        calibrated_sigma(model, images, batch_size=64, seed=0)
