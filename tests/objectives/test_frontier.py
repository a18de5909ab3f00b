"""The Pareto set, its area, its knee, and the point at rate 0."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.objectives.frontier import distortion_at_rate_zero, hypervolume, knee, pareto
from vaebalance.vae.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned

POINTS = st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 10)), max_size=12)


@given(points=POINTS)
def test_the_pareto_set_is_what_no_other_dominates(points):
    found = pareto(points)
    kept = [points[i] for i in found]
    for index, (d, r) in enumerate(points):
        beaten = any(
            d2 <= d and r2 <= r and ((d2, r2) != (d, r) or other < index)
            for other, (d2, r2) in enumerate(points)
            if other != index
        )
        assert (index in found) == (not beaten)
    assert kept == sorted(kept, key=lambda point: point[1])


@given(points=POINTS)
def test_the_hypervolume_is_optunas(points):
    reference = (4.0, 6.0)
    inside = [(d, r) for d, r in points if d < reference[0] and r < reference[1]]
    expected = 0.0
    if inside:
        from optuna._hypervolume import compute_hypervolume

        expected = compute_hypervolume(np.array(inside), np.array(reference))
    assert hypervolume(points, reference) == pytest.approx(expected, abs=1e-9)


def test_the_hypervolume_of_a_staircase():
    assert hypervolume([(4.0, 3.0), (10.0, 0.0), (0.0, 20.0)], (10.0, 20.0)) == 6 * 17
    assert hypervolume([(4.0, 3.0), (2.0, 5.0)], (10.0, 20.0)) == 6 * 17 + 2 * 15
    assert hypervolume([(11.0, 1.0)], (10.0, 20.0)) == 0
    assert optuna.__version__  # the other test compares with it


@given(scale=st.floats(0.1, 100), shift=st.floats(-50, 50))
def test_the_knee_of_a_hyperbola_is_in_its_middle_whatever_the_units(scale, shift):
    points = [(scale * 2**-k + shift, 2.0**k) for k in range(9)]
    assert knee(points) == 4


def test_the_knee_moves_with_the_range():
    points = [(2.0**-k, 2.0**k) for k in range(9)]
    assert points[knee(points[:5])] == (0.25, 4.0)
    assert points[knee(points)] == (0.0625, 16.0)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1.0, 1.0)],
        [(1.0, 0.0), (0.0, 1.0)],
        [(2.0, 0.0), (1.0, 1.0), (0.0, 2.0)],  # straight
        [(2.0, 0.0), (1.9, 1.0), (0.0, 2.0)],  # bent the other way
        [(1.0, 0.0)] * 5,
    ],
)
def test_no_bend_no_knee(points):
    assert knee(points) is None


def test_a_decoder_without_a_code(digits):
    """Compare with closed forms: the mean image's cross-entropy, and its squared error."""
    train, validation = (
        digits.images(split).double().flatten(1).numpy() / 255 for split in ("train", "validation")
    )
    mean = train.mean(0)
    n = train.shape[1]
    clipped = mean.clip(1e-12, 1 - 1e-12)
    cross_entropy = -(validation * np.log(clipped) + (1 - validation) * np.log1p(-clipped)).sum(1)
    found = distortion_at_rate_zero(Bernoulli(), digits, 0)
    assert found == pytest.approx(cross_entropy.mean(), rel=0.01)
    error = ((validation - mean) ** 2).sum(1).mean()
    sigma = 0.3
    expected = error / (2 * sigma**2) + n / 2 * math.log(2 * math.pi * sigma**2)
    assert distortion_at_rate_zero(Gaussian(sigma=sigma), digits, 0) == pytest.approx(
        expected, rel=0.01
    )
    assert math.isfinite(distortion_at_rate_zero(ContinuousBernoulli(), digits, 0))


def test_a_scale_of_its_own_is_fitted_too(digits):
    """Expect σ² to be the mean squared error to the mean image."""
    train = digits.images("train").double().flatten(1).numpy() / 255
    validation = digits.images("validation").double().flatten(1).numpy() / 255
    variance = ((train - train.mean(0)) ** 2).mean()
    error = ((validation - train.mean(0)) ** 2).sum(1).mean()
    expected = error / (2 * variance) + train.shape[1] / 2 * math.log(2 * math.pi * variance)
    found = distortion_at_rate_zero(GaussianLearned(), digits, 0)
    assert found == pytest.approx(expected, rel=0.03)
