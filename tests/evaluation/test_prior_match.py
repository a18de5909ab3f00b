"""The aggregate posterior against the prior: known distributions, brute force and scipy."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.evaluation import prior_match
from vaebalance.evaluation.posterior_moments import PosteriorMoments
from vaebalance.evaluation.prior_match import (
    aggregate_moments,
    aggregate_moments_null,
    energies,
    gaps,
    mean_distance,
    mean_distance_to_others,
    prior_draws,
)


def normal(count, latents, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, latents, generator=generator, dtype=torch.float64)


def energy_distance(a, b):
    return 2 * mean_distance(a, b) - mean_distance_to_others(a) - mean_distance_to_others(b)


def test_moments_of_a_known_aggregate(linear_gaussian):
    model = linear_gaussian(widen=1.5, shift=0.7)
    found = aggregate_moments(model.moments(100_000))
    variances = model.aggregate().base_dist.variance
    assert found.mean_norm == pytest.approx(0.7 * math.sqrt(2), abs=0.02)
    assert found.smallest_variance == pytest.approx(variances.min().item(), abs=0.02)
    assert found.largest_variance == pytest.approx(variances.max().item(), abs=0.02)
    deviation = (variances - 1).square().mean().sqrt().item()
    assert found.covariance_deviation == pytest.approx(deviation, abs=0.02)


def test_moments_are_those_of_the_mixture():
    """Compare with codes drawn from the mixture, which has correlations."""
    mean = normal(300, 3).cumsum(1).float()
    moments = PosteriorMoments(mean, 0.2 + normal(300, 3, 1).abs().float())
    codes = torch.cat([moments.sample(seed) for seed in range(300)])
    covariance = np.cov(codes.numpy().T)
    np.testing.assert_allclose(moments.aggregate_covariance, covariance, atol=0.05)
    np.testing.assert_allclose(moments.aggregate_mean, codes.mean(0), atol=0.02)
    found = aggregate_moments(moments)
    deviation = np.linalg.norm(covariance - np.eye(3)) / math.sqrt(3)
    assert found.covariance_deviation == pytest.approx(deviation, rel=0.03)


def test_the_null_of_the_moments_is_what_prior_draws_show():
    shown = []
    for seed in range(100):
        z = normal(200, 10, seed).float()
        shown.append(vars(aggregate_moments(PosteriorMoments(z, torch.zeros_like(z)))))
    null = vars(aggregate_moments_null(200, 10))
    for name, value in null.items():
        assert np.mean([entry[name] for entry in shown]) == pytest.approx(value, rel=0.12), name


@pytest.mark.parametrize("elements", [1, 200, 10**6])
@pytest.mark.parametrize("mirrored", [False, True])
def test_mean_distances_are_those_of_all_pairs(monkeypatch, elements, mirrored):
    monkeypatch.setattr(prior_match, "BLOCK_ELEMENTS", elements)
    z = normal(40, 3)
    pairs = scipy.spatial.distance.cdist(z, -z if mirrored else z)
    expected = pairs[~np.eye(40, dtype=bool)].mean()
    assert mean_distance_to_others(z, mirrored=mirrored) == pytest.approx(expected)
    other = normal(30, 3, 1)
    expected = scipy.spatial.distance.cdist(z, other).mean()
    assert mean_distance(z, other) == pytest.approx(expected)


def test_the_energy_distance_is_scipys_but_for_its_bias():
    """Compare points on a line with scipy, whose distance is the root of half the V-statistic."""
    a, b = normal(300, 1), 0.8 * normal(300, 1, 1) + 0.5
    biased = scipy.stats.energy_distance(a[:, 0], b[:, 0]) ** 2
    bias = sum(mean_distance_to_others(points) for points in (a, b)) / 300
    assert energy_distance(a, b) + bias == pytest.approx(biased, rel=1e-6)


def test_energies_are_near_their_null_for_the_prior_and_far_from_it_elsewhere():
    z = normal(600, 4)
    found, null = energies(z, 0)
    assert abs(found.energy_symmetry) < 4 * null.energy_symmetry
    assert abs(found.energy_to_prior) < 4 * null.energy_to_prior
    shifted, same_null = energies(z + 0.5, 0)
    assert same_null == null
    assert shifted.energy_symmetry > 20 * null.energy_symmetry
    assert shifted.energy_to_prior > 20 * null.energy_to_prior
    wide, _ = energies(2 * z, 0)  # symmetric, and not the prior
    assert abs(wide.energy_symmetry) < 8 * null.energy_symmetry
    assert wide.energy_to_prior > 20 * null.energy_to_prior


def test_the_energy_of_a_point_mass_and_its_mirror_image():
    """Put all points at (c, 0), and expect 2·2c − 0 − 0."""
    found, _ = energies(torch.tensor([[1.5, 0.0]]).expand(20, 2), 0)
    assert found.energy_symmetry == pytest.approx(4 * 1.5, abs=1e-6)


def test_estimates_are_without_bias():
    values = [energies(normal(12, 3, seed), seed)[0] for seed in range(400)]
    for name in ("energy_symmetry", "energy_to_prior"):
        sample = np.array([getattr(value, name) for value in values])
        assert abs(sample.mean()) < 4 * sample.std() / 20, name


def test_gaps_are_where_the_prior_has_codes_and_images_have_none():
    full, null = gaps(normal(800, 2), 0)
    assert full.coverage == pytest.approx(null.coverage, abs=0.03)
    z = normal(2000, 2)
    half, _ = gaps(z[z[:, 0] > 0][:800], 0)  # nothing on one side of the origin
    assert half.coverage == pytest.approx(0.5, abs=0.05)
    assert half.precision > 0.95
    wide, _ = gaps(30 * normal(800, 2), 0)
    assert wide.coverage < 0.3
    assert wide.precision < 0.1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_codes(count):
    z = normal(count, 2)
    assert (energies(z, 0) is None) == (gaps(z, 0) is None) == (count == 1)


def test_prior_draws_are_standard_normal_and_follow_the_seed():
    draws = prior_draws(torch.Size([20_000, 2]), 0, "a")
    assert scipy.stats.kstest(draws.flatten(), "norm").pvalue > 1e-3
    assert torch.equal(draws, prior_draws(torch.Size([20_000, 2]), 0, "a"))
    assert not torch.equal(draws, prior_draws(torch.Size([20_000, 2]), 1, "a"))
    assert not torch.equal(draws, prior_draws(torch.Size([20_000, 2]), 0, "b"))


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_energies_do_not_change_when_the_space_is_turned(seed, count):
    z = normal(count, 3, seed)
    turn, _ = torch.linalg.qr(normal(3, 3, seed + 1))
    assert symmetry(z @ turn) == pytest.approx(symmetry(z), abs=1e-9)
    other = normal(count + 1, 3, seed + 2)
    turned = energy_distance(z @ turn, other @ turn)
    assert turned == pytest.approx(energy_distance(z, other), abs=1e-9)
    assert energy_distance(other, z) == pytest.approx(energy_distance(z, other), abs=1e-9)


def symmetry(z):
    return 2 * (mean_distance_to_others(z, mirrored=True) - mean_distance_to_others(z))
