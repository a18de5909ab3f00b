"""The aggregate posterior of a latent, compared with sampling and closed forms."""

from __future__ import annotations

import json

import altair as alt
import numpy as np
import pytest
from scipy import stats

from vaebalance.pages.figures.densities import density, density_chart
from vaebalance.pages.figures.rate_distortion import OperatingPoint, rate_distortion

GENERATOR = np.random.default_rng(0)


def test_mass_is_that_of_the_mixture():
    mean, std = GENERATOR.normal(size=5000), GENERATOR.uniform(0.05, 0.6, size=5000)
    found = density(mean, std, has_prior=True)
    cdf = stats.norm.cdf(found.edges[:, None], mean, std).mean(1)
    np.testing.assert_allclose(found.mass, np.diff(cdf), atol=1e-12)
    samples = mean + std * GENERATOR.normal(size=5000)
    counts, _ = np.histogram(samples, found.edges)
    # A bin's count is binomial: within 4.5 standard deviations of its expectation.
    deviation = np.sqrt(5000 * found.mass * (1 - found.mass)) + 1e-9
    assert np.abs((counts - 5000 * found.mass) / deviation).max() < 4.5
    assert found.mean == pytest.approx(mean.mean())
    assert found.std == pytest.approx(np.sqrt(mean.var() + (std**2).mean()))
    np.testing.assert_allclose(found.prior, np.diff(stats.norm.cdf(found.edges)), atol=1e-12)


def test_overlap_is_one_for_the_prior_itself_and_nothing_far_away():
    ones = np.ones(200)
    assert density(0 * ones, ones, has_prior=True).overlap == pytest.approx(1.0, abs=1e-3)
    assert density(50 * ones, ones, has_prior=True).overlap < 1e-3
    # N(0, 1) and N(2, 1) overlap in 2·Φ(−1).
    found = density(2 * ones, ones, has_prior=True).overlap
    assert found == pytest.approx(2 * stats.norm.cdf(-1), abs=0.01)


def test_codes_without_spread_are_counted():
    mean = GENERATOR.normal(size=300).astype(np.float32)
    found = density(mean, np.zeros(300, np.float32), has_prior=False)
    counts, _ = np.histogram(mean, found.edges)
    np.testing.assert_allclose(found.mass, counts / 300, atol=1e-9)
    assert found.prior is None
    assert found.overlap is None


def test_a_dead_latent_has_a_density():
    found = density(np.full(10, 3.0), np.zeros(10), has_prior=False)
    assert found.mass.sum() == pytest.approx(1.0)


def test_new_charts_are_valid_vega_lite():
    mean = GENERATOR.normal(size=50)
    points = [
        OperatingPoint("a", "trial", "", "", 1.0, 2.0),
        OperatingPoint("b", "this run", "α = 1", "β 1", 2.0, 1.0, 2.5),
    ]
    for chart in (
        density_chart("z0", "z0", "0 ± 1", density(mean, mean**2, has_prior=True)),
        density_chart("z0", "z0", "0 ± 1", density(mean, mean**2, has_prior=False)),
        rate_distortion("plane", points, "nats"),
        rate_distortion("plane", points[1:], "nats"),
    ):
        for spec in (chart.live, chart.still):
            alt.Chart.from_dict(spec, validate=True)
            json.dumps(spec, allow_nan=False)


@pytest.mark.parametrize("value", [0.0, 0.123456, 3e4, 1e-20])
@pytest.mark.parametrize("has_prior", [True, False])
def test_a_code_that_never_moves_is_a_bar(value, has_prior):
    found = density(np.full(50, value), np.zeros(50), has_prior=has_prior)
    bars = found.mass[found.mass > 1e-6]  # two where it lies between two bins
    assert len(bars) <= 2
    assert bars.sum() == pytest.approx(1)
    records = density_chart("d", "z0", "", found).live["datasets"]["q"]
    assert len({record["z"] for record in records}) == len(records)
    assert sum(record["density"] > 0 for record in records) == len(bars)


@pytest.mark.parametrize("scale", [1e-5, 1e7])
def test_densities_are_drawn_on_any_scale(scale):
    mean = scale * np.random.default_rng(1).normal(size=500)
    found = density(mean, np.zeros(500), has_prior=False)
    records = density_chart("d", "z0", "", found).live["datasets"]["q"]
    assert len({record["z"] for record in records}) == len(records)
    heights = np.array([record["density"] for record in records[:-1]])
    np.testing.assert_allclose(heights / heights.sum(), found.mass, atol=1e-3)
