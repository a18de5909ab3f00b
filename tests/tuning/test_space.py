"""Weights on a log scale, short enough to write down."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.tuning.space import Range


@given(
    low=st.floats(1e-6, 1e3),
    ratio=st.floats(1.001, 1e8),
    fraction=st.floats(0, 1),
)
def test_at_stays_in_range_and_has_an_inverse(low, ratio, fraction):
    space = Range("balance.beta", low, low * ratio)
    weight = space.at(fraction)
    assert space.contains(weight)
    # Four digits err by 5e-4 of the weight: most of the range where it is just over 10 % wide.
    assert space.fraction(weight) == pytest.approx(fraction, abs=5e-4 / math.log(1.1) + 1e-6)


def test_at_is_geometric():
    space = Range("balance.beta", 0.01, 100.0)
    assert [space.at(f) for f in (0, 0.25, 0.5, 1)] == [0.01, 0.1, 1.0, 100.0]


@given(weight=st.floats(0.05, 20))
def test_a_rounded_weight_is_short_and_near(weight):
    rounded = Range("balance.beta", 0.05, 20.0).rounded(weight)
    assert len(f"{rounded:g}".replace(".", "").strip("0")) <= 4
    assert math.isclose(rounded, weight, rel_tol=1e-3)


def test_a_narrow_range_is_still_resolved():
    space = Range("balance.beta", 1.0, 1.0005)
    assert len({space.at(i / 100) for i in range(101)}) > 90


def test_the_ends_are_not_passed_by_rounding():
    space = Range("balance.alpha", 0.123456, 0.98765432)
    assert (space.at(0), space.at(1)) == (0.1235, 0.98765432)
    assert Range("balance.alpha", 0.12354, 1.0).at(0) == 0.12354
    assert space.weight == "alpha"
