"""Likelihoods against torch.distributions, closed forms and finite sums."""

import math

import pytest
import torch
from pydantic import TypeAdapter
from torch.distributions import Normal

from vaebalance.likelihoods import Bernoulli, Gaussian, Likelihood, Rmse

SHAPE = (4, 2, 5, 5)
DIMENSIONS = 2 * 5 * 5
MEMBERS = [Bernoulli(), Gaussian(sigma=0.3), Rmse()]


@pytest.fixture
def raw() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("likelihood", MEMBERS, ids=lambda member: member.kind)
def test_every_member_scores_images_whole(likelihood, raw, x):
    """One number an image, its mean in the pixels' range, gradients everywhere."""
    raw.requires_grad_()
    distribution = likelihood.distribution(raw)
    assert distribution.batch_shape == (4,)
    assert distribution.event_shape == (2, 5, 5)
    assert distribution.mean.shape == SHAPE
    assert ((distribution.mean >= 0) & (distribution.mean <= 1)).all()
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == (4,)
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert gradient.isfinite().all()
    assert (gradient != 0).any(dim=(1, 2, 3)).all()


@pytest.mark.parametrize("likelihood", MEMBERS, ids=lambda member: member.kind)
def test_every_member_reads_any_leading_dimensions(likelihood, raw, x):
    """[K, B, C, H, W] raw output scores as K batches would."""
    stacked = likelihood.distribution(torch.stack([raw, raw + 1])).log_prob(x)
    torch.testing.assert_close(stacked[0], likelihood.distribution(raw).log_prob(x))
    torch.testing.assert_close(stacked[1], likelihood.distribution(raw + 1).log_prob(x))


@pytest.mark.parametrize("likelihood", MEMBERS, ids=lambda member: member.kind)
def test_every_member_survives_its_dump(likelihood):
    """What is saved in model.json builds the same object."""
    adapter = TypeAdapter(Likelihood)
    assert adapter.validate_json(adapter.dump_json(likelihood)) == likelihood


def test_bernoulli_is_bce_summed_over_the_image(raw, x):
    probability = torch.sigmoid(raw.double())
    expected = -(x * probability.log() + (1 - x) * (1 - probability).log()).sum(dim=(1, 2, 3))
    actual = -Bernoulli().distribution(raw).log_prob(x)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-4)


def test_bernoulli_mass_sums_to_one():
    """Over all 2⁴ images of 1×2×2 pixels."""
    raw = torch.tensor([[[0.3, -1.0], [2.0, 0.1]]])
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).reshape(16, 1, 2, 2)
    total = Bernoulli().distribution(raw.expand(16, 1, 2, 2)).log_prob(images).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


def test_gaussian_is_the_stated_formula(raw, x):
    """D = ‖x − x̂‖²/(2σ²) + (n/2)·log(2πσ²), and torch's normal."""
    sigma = 0.3
    mean = torch.sigmoid(raw)
    squared_error = (x - mean).square().sum(dim=(1, 2, 3))
    stated = squared_error / (2 * sigma**2) + DIMENSIONS / 2 * math.log(2 * math.pi * sigma**2)
    actual = -Gaussian(sigma=sigma).distribution(raw).log_prob(x)
    torch.testing.assert_close(actual, stated)
    torch.testing.assert_close(actual, -Normal(mean, sigma).log_prob(x).sum(dim=(1, 2, 3)))


def test_rmse_is_the_root_of_each_images_mean(raw, x):
    expected = (x - torch.sigmoid(raw)).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(-Rmse().distribution(raw).log_prob(x), expected)


def test_rmse_has_a_gradient_at_a_perfect_reconstruction():
    raw = torch.zeros(1, 1, 2, 2, requires_grad=True)
    Rmse().distribution(raw).log_prob(torch.full((1, 1, 2, 2), 0.5)).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_rmse_in_nats_is_the_best_gaussians_distortion():
    """No σ of a grid beats the calibrated one, which equals (n/2)·log(2πe·MSE)."""
    rmse = torch.tensor([0.1, 0.2, 0.4])
    nats = Rmse().distortion_in_nats(
        float(rmse.mean()), float(rmse.square().mean()), dimensions=DIMENSIONS
    )
    sums = DIMENSIONS * rmse.square()
    grid = torch.linspace(0.05, 1, 2000)[:, None]
    distortion = sums / (2 * grid**2) + DIMENSIONS / 2 * torch.log(2 * math.pi * grid**2)
    assert nats == pytest.approx(distortion.mean(1).min().item(), abs=1e-3)


def test_a_densitys_distortion_is_in_nats_already():
    assert Bernoulli().distortion_in_nats(12.5, 200.0, dimensions=DIMENSIONS) == 12.5


def test_cautions():
    """BCE on grey pixels and RMSE say what their numbers are not."""
    assert "continuous Bernoulli" in (Bernoulli().caution(binarised=False) or "")
    assert Bernoulli().caution(binarised=True) is None
    assert "not a log-likelihood" in (Rmse().caution(binarised=True) or "")
    assert Gaussian().caution(binarised=False) is None
