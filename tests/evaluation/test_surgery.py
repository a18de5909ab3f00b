"""Mutual information and marginal KL of a linear-Gaussian model, which has closed forms of both."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vaebalance.evaluation import surgery as module
from vaebalance.evaluation.posterior_moments import PosteriorMoments
from vaebalance.evaluation.surgery import held_out_marginal_kl, log_aggregate_posterior, surgery

WRONG = [
    {},
    {"widen": 1.5},
    {"widen": 0.5, "shift": 0.7},
    {"shift": 1.5},
]


def some_moments(count=60, latents=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = 2 * torch.randn(count, latents, generator=generator)
    return PosteriorMoments(mean, 0.1 + torch.rand(count, latents, generator=generator))


def test_the_model_of_these_tests_is_consistent(linear_gaussian):
    """Check that R is MI + marginal KL; with the exact posterior q(z) is the prior."""
    exact = linear_gaussian()
    assert exact.marginal_kl() == pytest.approx(0, abs=1e-12)
    for wrong in WRONG:
        model = linear_gaussian(**wrong)
        rate = model.moments(200_000).rate.mean().item()
        parts = model.mutual_information() + model.marginal_kl()
        assert rate == pytest.approx(parts, rel=0.01)


@pytest.mark.parametrize("wrong", WRONG)
def test_both_parts_are_the_closed_forms(linear_gaussian, wrong):
    model = linear_gaussian(**wrong)
    found = surgery(model.moments(3000), 0)
    tolerance = 4 * found.standard_error + 0.01
    assert found.standard_error < 0.03
    assert found.mutual_information == pytest.approx(model.mutual_information(), abs=tolerance)
    assert found.marginal_kl == pytest.approx(model.marginal_kl(), abs=tolerance + 0.02)
    assert (found.images, found.ceiling) == (3000, math.log(3000))


def test_they_sum_to_the_mean_rate():
    moments = some_moments()
    found = surgery(moments, 0)
    posterior = Independent(Normal(moments.mean.double(), moments.std.double()), 1)
    prior = Independent(Normal(torch.zeros(3).double(), 1.0), 1)
    rate = torch.distributions.kl_divergence(posterior, prior).mean().item()
    assert found.mutual_information + found.marginal_kl == pytest.approx(rate, rel=1e-9)


def test_narrow_posteriors_saturate_at_the_logarithm_of_the_images(linear_gaussian):
    """Use a true MI of 15.3 nats; 500 images show at most ln 500 = 6.2."""
    model = linear_gaussian(sigma=1e-4)
    assert model.mutual_information() > 15
    found = surgery(model.moments(500), 0)
    assert found.mutual_information == pytest.approx(math.log(500), abs=1e-3)
    assert found.mutual_information <= found.ceiling + 1e-9
    assert found.marginal_kl > 8  # an artefact: the true one is 0
    held_out = held_out_of(model, 4000)
    assert held_out.value == pytest.approx(0, abs=0.05)


def test_images_of_one_code_have_no_information():
    moments = PosteriorMoments(torch.full((40, 2), 0.5), torch.full((40, 2), 0.8))
    found = surgery(moments, 0)
    assert found.mutual_information == pytest.approx(0, abs=1e-12)
    assert found.marginal_kl == pytest.approx(moments.rate[0].item())


def test_a_single_image():
    found = surgery(some_moments(1), 0)
    assert (found.mutual_information, found.standard_error) == (pytest.approx(0, abs=1e-9), None)


@pytest.mark.parametrize("elements", [1, 100, 10**6])
def test_the_aggregate_posterior_is_the_mixture_however_it_is_blocked(monkeypatch, elements):
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", elements)
    moments = some_moments()
    z = 2 * torch.randn(37, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = Independent(Normal(moments.mean.double(), moments.std.double()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(60, dtype=torch.float64)), parts)
    torch.testing.assert_close(log_aggregate_posterior(moments, z), mixture.log_prob(z))


def test_the_narrowest_posteriors_that_the_model_allows_are_exact():
    moments = PosteriorMoments(torch.tensor([[3.0], [-4.0]]), torch.full((2, 1), math.exp(-10)))
    density = log_aggregate_posterior(moments, moments.mean.double())
    expected = 10 - 0.5 * math.log(2 * math.pi) - math.log(2)
    torch.testing.assert_close(
        density, torch.full((2,), expected, dtype=torch.float64), atol=1e-5, rtol=0
    )


def held_out_of(model, count):
    training, test = model.moments(count, seed=1).sample(3), model.moments(count, seed=2).sample(4)
    return held_out_marginal_kl(training, test, 0)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_held_out_bound_is_tight_where_the_aggregate_is_gaussian(linear_gaussian, wrong):
    model = linear_gaussian(**wrong)
    found = held_out_of(model, 3000)
    assert found.value == pytest.approx(model.marginal_kl(), abs=4 * found.standard_error + 0.01)
    assert not wrong or "Gaussian" in found.density


def test_the_held_out_bound_sees_clusters_and_stays_below_the_truth():
    """Integrate KL = −H(q) − E ln p numerically for two clusters at ±3 of scale 0.5."""
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    halves = [Normal(at, 0.5).log_prob(grid) for at in (-3.0, 3.0)]
    log_q = torch.stack(halves).logsumexp(0) - math.log(2)
    truth = torch.trapezoid(log_q.exp() * (log_q - Normal(0.0, 1.0).log_prob(grid)), grid).item()
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (8000, 1), generator=generator) * 2.0 - 1
    z = 3 * signs + 0.5 * torch.randn(8000, 1, generator=generator)
    found = held_out_marginal_kl(z[:4000], z[4000:], 0)
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error + 0.01)
    assert "mixture" in found.density


def test_a_density_of_few_codes_in_many_latents_does_not_overfit():
    """Check that the prior is chosen for 40 of its codes in 30 dimensions: all fits are worse."""
    z = torch.randn(80, 30, generator=torch.Generator().manual_seed(0))
    found = held_out_marginal_kl(z[:40], z[40:], 0)
    assert (found.value, found.density) == (0.0, "the prior")


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_a_handful_of_codes(count):
    z = torch.randn(2 * count, 2, generator=torch.Generator().manual_seed(0))
    found = held_out_marginal_kl(z[:count], z[count:], 0)
    assert math.isfinite(found.value)
    assert (found.standard_error is None) == (count == 1)


def test_the_seed_decides(linear_gaussian):
    moments = linear_gaussian().moments(300)
    assert surgery(moments, 0) == surgery(moments, 0)
    assert surgery(moments, 0) != surgery(moments, 1)
