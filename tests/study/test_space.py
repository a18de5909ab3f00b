"""Values short enough to write down, on a log scale or not."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.study.space import Choices, Range, Space, shown


@given(
    low=st.floats(1e-6, 1e3),
    ratio=st.floats(1.001, 1e8),
    fraction=st.floats(0, 1),
)
def test_at_stays_in_range_and_has_an_inverse(low, ratio, fraction):
    space = Range("balance.beta", low, low * ratio)
    weight = space.at(fraction)
    assert space.contains(weight)
    # Four digits have an error of 5e-4 of the weight, most visible in a range of just over 10 %.
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


def test_a_linear_range_is_even_and_short():
    space = Range("train.learning_rate", 0.1, 0.9, log=False)
    assert [space.at(f) for f in (0, 0.25, 0.5, 1)] == [0.1, 0.3, 0.5, 0.9]
    assert space.at(1 / 3) == 0.3667
    assert space.fraction(0.3) == pytest.approx(0.25)


def test_whole_numbers_are_all_as_likely():
    space = Range("model.latent_size", 2, 5, log=False, whole=True)
    found = [space.at(i / 400) for i in range(400)]
    assert all(isinstance(value, int) for value in found)
    assert [found.count(value) for value in (2, 3, 4, 5)] == [100] * 4
    assert space.at(1.0) == 5
    assert space.rounded(4.6) == 5


def test_whole_numbers_on_a_log_scale():
    space = Range("model.latent_size", 2, 32, whole=True)
    assert [space.at(f) for f in (0, 0.25, 0.5, 1)] == [2, 4, 8, 32]


def test_choices():
    some = Choices("likelihood.kind", ("bernoulli", "laplace", None))
    assert [some.at(f) for f in (0, 0.34, 0.99, 1.0)] == ["bernoulli", "laplace", None, None]
    assert some.contains("laplace")
    assert not some.contains("gaussian")


SPACE = Space(
    (
        Range("balance.beta", 0.05, 20.0),
        Range("model.latent_size", 2, 16, log=False, whole=True),
        Choices("likelihood.kind", ("bernoulli", "laplace")),
    )
)


def test_a_space_comes_back_from_a_file():
    assert Space.from_json(json.loads(json.dumps(SPACE.to_json()))) == SPACE


def test_points_are_named_briefly():
    point = SPACE.at([0.5, 0.5, 0.9])
    assert point == {"balance.beta": 1.0, "model.latent_size": 9, "likelihood.kind": "laplace"}
    assert SPACE.describe(point) == "β = 1, latent_size = 9, likelihood = laplace"
    assert SPACE.contains(point)
    assert not SPACE.contains({**point, "model.latent_size": 17})
    assert not SPACE.contains({**point, "balance.beta": True})
    assert shown(None) == "None"


def test_names_that_would_be_the_same_are_paths():
    twins = Space((Choices("a.b.weight", (1, 2)), Choices("c.weight", (1, 2))))
    assert list(twins.names.values()) == ["a.b.weight", "c.weight"]
