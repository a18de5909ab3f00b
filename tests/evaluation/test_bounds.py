"""Bounds against a linear-Gaussian model, whose log p(x) has a closed form."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaebalance.evaluation.bounds import (
    bits_per_dim,
    distortion_draws,
    elbo_parts,
    importance_weighted_nll,
    importance_weighted_nlls,
    own_score,
    summarise,
)
from vaebalance.vae.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian, Rmse

CPU = torch.device("cpu")


@pytest.mark.parametrize("samples", [1, 2, 40, 300])
def test_with_the_exact_posterior_every_sample_gives_the_exact_nll(
    linear_gaussian, make_images, samples
):
    model, images = linear_gaussian(), make_images()
    estimate = importance_weighted_nll(model, images, samples=samples, batch_size=256, seed=0)
    exact = model.nll(images.pixels(slice(None), CPU))
    torch.testing.assert_close(estimate.nll, exact, atol=2e-5, rtol=0)
    assert estimate.mean == pytest.approx(exact.mean().item(), abs=1e-5)
    torch.testing.assert_close(
        estimate.effective_sample_size, torch.full_like(exact, samples), rtol=1e-4, atol=0
    )


def test_with_a_wrong_posterior_the_bound_falls_towards_the_truth(linear_gaussian, make_images):
    model, images = linear_gaussian(widen=1.6, shift=0.3), make_images(600)
    exact = model.nll(images.pixels(slice(None), CPU)).mean().item()
    gaps = [
        importance_weighted_nll(model, images, samples=k, batch_size=1024, seed=0).mean - exact
        for k in (1, 4, 16, 64, 2000)
    ]
    assert gaps[0] == pytest.approx(model.gap(), rel=0.2)  # K = 1 is the negative ELBO
    assert gaps == sorted(gaps, reverse=True)
    assert all(small < large / 2 for large, small in itertools.pairwise(gaps))
    assert gaps[-1] == pytest.approx(0, abs=0.002)


def test_the_bounds_first_order_bias_is_the_weights_variance_over_2k(linear_gaussian, make_images):
    """Expect E[bound] − truth ≈ Var(w/E[w]) / 2K (Domke & Sheldon 2018), ESS ≈ K / (1 + Var)."""
    model, images = linear_gaussian(widen=1.3), make_images(2000)
    exact = model.nll(images.pixels(slice(None), CPU))
    # For a latent of the right mean and widened scale, E_q[(p/q)²] = widen² / √(2·widen² − 1).
    second_moment = (1.3**2 / math.sqrt(2 * 1.3**2 - 1)) ** 2
    estimate = importance_weighted_nll(model, images, samples=50, batch_size=4096, seed=0)
    bias = (estimate.nll - exact).mean().item()
    assert bias == pytest.approx((second_moment - 1) / 100, rel=0.25)
    effective = estimate.effective_sample_size.mean().item()
    assert effective == pytest.approx(50 / second_moment, rel=0.02)


def test_many_images_need_fewer_draws():
    assert [distortion_draws(n) for n in (1, 512, 1024, 2048, 10**6)] == [16, 16, 8, 4, 4]


def test_elbo_parts_against_closed_forms(linear_gaussian, make_images):
    model, images = linear_gaussian(widen=1.2, shift=0.1), make_images(2000)
    x = images.pixels(slice(None), CPU)
    parts = elbo_parts(model, images, samples=32, batch_size=4096, seed=0)
    posterior = model.encode(x)
    mean, variance = posterior.mean.double(), posterior.variance.double()
    rate = -0.5 * (1 + variance.log() - mean.square() - variance).mean(0)
    torch.testing.assert_close(parts.rate_by_latent, rate, rtol=1e-5, atol=1e-6)
    assert parts.rate == pytest.approx(rate.sum().item(), rel=1e-5)
    # E_q‖x − Wz − b‖² = ‖x − Wm − b‖² + Σ_j s_j²‖w_j‖²
    residual = x.double().flatten(1) - model.offset - mean @ model.weights.T
    spread = (variance * model.weights.square().sum(0)).sum(1)
    squared_error = residual.square().sum(1) + spread
    constant = 0.5 * x[0].numel() * math.log(2 * math.pi * model.sigma**2)
    distortion = (squared_error / (2 * model.sigma**2)).mean().item() + constant
    assert parts.distortion == pytest.approx(distortion, abs=0.02)
    truth = model.nll(x).mean().item() + model.gap()
    assert parts.negative_elbo == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(sigma=0.2)])
def test_chunking_changes_rounding_at_most(make_vae, make_images, likelihood):
    model, images = make_vae(likelihood), make_images(130, (1, 8, 8))
    first, *others = (
        importance_weighted_nll(model, images, samples=300, batch_size=size, seed=5)
        for size in (64, 100, 1000, 50_000)
    )
    for other in others:
        torch.testing.assert_close(other.nll, first.nll, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            other.effective_sample_size, first.effective_sample_size, rtol=1e-3, atol=0
        )
    one, two = (
        elbo_parts(model, images, samples=5, batch_size=size, seed=5) for size in (64, 5000)
    )
    assert one.distortion == pytest.approx(two.distortion, rel=1e-6)


def test_several_scores_share_one_decoding(linear_gaussian, make_images):
    model, images = linear_gaussian(widen=1.2), make_images(70)

    def halved(likelihood, x):
        return 0.5 * own_score(likelihood, x)

    cost = {"samples": 33, "batch_size": 64, "seed": 0}
    one, other, again = importance_weighted_nlls(
        model, images, [own_score, halved, own_score], **cost
    )
    assert sum(model.decoded) == 70 * 33
    alone = importance_weighted_nll(model, images, **cost)
    assert torch.equal(one.nll, alone.nll)
    assert torch.equal(again.nll, alone.nll)
    (halved_alone,) = importance_weighted_nlls(model, images, [halved], **cost)
    assert torch.equal(other.nll, halved_alone.nll)
    assert not torch.equal(other.nll, one.nll)


def test_five_thousand_samples_are_held_as_numbers_only(linear_gaussian, make_images, monkeypatch):
    """Use K = 5,000 (Burda et al. 2016): at most 256 codes per image are drawn, 512 decoded."""
    model, images = linear_gaussian(widen=1.6, shift=0.3), make_images(3)
    drawn = []
    draw = torch.distributions.Normal.rsample

    def watch(distribution, shape=()):
        drawn.append(math.prod(shape))
        return draw(distribution, shape)

    monkeypatch.setattr(torch.distributions.Normal, "rsample", watch)
    found = importance_weighted_nll(model, images, samples=5000, batch_size=512, seed=0)
    assert sum(drawn) == 5000
    assert max(drawn) <= 256
    assert max(model.decoded) <= 512
    exact = model.nll(images.pixels(slice(None), CPU))
    torch.testing.assert_close(found.nll, exact, atol=0.03, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 5, 64, 200])
def test_no_more_than_a_batch_is_decoded_at_once_and_nothing_twice(
    linear_gaussian, make_images, batch_size
):
    model, images = linear_gaussian(), make_images(70)
    importance_weighted_nll(model, images, samples=33, batch_size=batch_size, seed=0)
    assert max(model.decoded) <= batch_size
    assert sum(model.decoded) == 70 * 33
    model.decoded.clear()
    elbo_parts(model, images, samples=16, batch_size=batch_size, seed=0)
    assert max(model.decoded) <= batch_size
    assert sum(model.decoded) == 70 * 16


def test_a_small_batch_is_another_draw_of_the_same_estimate(linear_gaussian, make_images):
    model, images = linear_gaussian(widen=1.3), make_images(300)
    small, large = (
        importance_weighted_nll(model, images, samples=20, batch_size=size, seed=0)
        for size in (16, 256)
    )
    assert not torch.equal(small.nll, large.nll)
    assert small.mean == pytest.approx(large.mean, abs=0.03)


def test_the_seed_decides_and_the_callers_random_state_is_untouched(make_vae, make_images):
    model, images = make_vae(), make_images(80, (1, 8, 8))

    def measure(seed):
        return importance_weighted_nll(model, images, samples=7, batch_size=64, seed=seed).nll

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measure(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(measure(0), first)
    assert not torch.equal(measure(1), first)
    parts = [elbo_parts(model, images, samples=2, batch_size=64, seed=s) for s in (0, 0, 1)]
    assert parts[0].distortion == parts[1].distortion != parts[2].distortion


def test_every_image_has_its_own_noise(linear_gaussian, make_images):
    """Check that images do not share noise, which would make the standard error too small."""
    model, images = linear_gaussian(widen=1.5), make_images(200)
    images.stored[:] = 100
    estimate = importance_weighted_nll(model, images, samples=3, batch_size=64, seed=0)
    assert len(estimate.nll.unique()) == 200


def test_the_standard_error_is_that_of_the_mean_over_images(linear_gaussian, make_images):
    model = linear_gaussian()
    estimate = importance_weighted_nll(model, make_images(), samples=2, batch_size=64, seed=0)
    expected = estimate.nll.numpy().std(ddof=1) / math.sqrt(150)
    assert estimate.standard_error == pytest.approx(expected)
    single = importance_weighted_nll(model, make_images(1), samples=2, batch_size=64, seed=0)
    assert single.standard_error is None


def test_no_gradient_is_recorded(make_vae, make_images):
    model, images = make_vae(), make_images(10, (1, 8, 8))
    estimate = importance_weighted_nll(model, images, samples=2, batch_size=64, seed=0)
    assert not estimate.nll.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_effective_sample_size_at_its_extremes():
    equal = torch.full((8, 2), -1e4, dtype=torch.float64)
    lone = equal.clone()
    lone[3] += 800
    nll, effective = summarise(equal)
    torch.testing.assert_close(nll, torch.full((2,), 1e4, dtype=torch.float64))
    torch.testing.assert_close(effective, torch.full((2,), 8.0, dtype=torch.float64))
    nll, effective = summarise(lone)
    torch.testing.assert_close(effective, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(nll, torch.full((2,), 9200 + math.log(8), dtype=torch.float64))


@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=20),
    st.floats(-1e5, 1e5),
)
@settings(max_examples=100, deadline=None)
def test_summaries_are_those_of_the_plain_weights(log_weights, shift):
    weights = [math.exp(value) for value in log_weights]
    nll, effective = summarise(torch.tensor(log_weights, dtype=torch.float64)[:, None] + shift)
    mean = math.fsum(weights) / len(weights)
    assert nll.item() == pytest.approx(-math.log(mean) - shift, rel=1e-9, abs=1e-8)
    expected = math.fsum(weights) ** 2 / math.fsum(w * w for w in weights)
    assert effective.item() == pytest.approx(expected, rel=1e-6)
    assert 1 - 1e-6 <= effective.item() <= len(weights) * (1 + 1e-6)


def test_bits_per_dim_only_of_a_probability_mass():
    fair_coins = 10 * math.log(2)
    assert bits_per_dim(fair_coins, Bernoulli(), binarised=True, dimensions=10) == pytest.approx(1)
    bits = bits_per_dim(fair_coins, DiscretisedLogistic(), binarised=False, dimensions=10)
    assert bits == pytest.approx(1)
    for likelihood, binarised in (
        (DiscretisedLogistic(), True),
        (Bernoulli(), False),
        (Gaussian(), True),
        (Gaussian(), False),
        (Rmse(), True),
    ):
        assert bits_per_dim(9.0, likelihood, binarised=binarised, dimensions=10) is None
