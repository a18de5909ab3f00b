"""DCI and SAP on codes of known scores."""

import numpy as np
import pytest

from vaebalance.evaluation.disentanglement.factors import FactorCodes
from vaebalance.evaluation.disentanglement.predictor_scores import (
    dci,
    separated_attribute_predictability,
    weighted_certainty,
)


def test_dci_of_a_perfect_code_is_one(perfect, generator):
    found = dci(perfect, generator)
    assert found.disentanglement == pytest.approx(1, abs=1e-6)
    assert found.completeness == pytest.approx(1, abs=1e-6)
    assert found.informativeness == 1
    assert found.importance == pytest.approx(np.eye(4), abs=1e-6)


def test_dci_of_a_rotated_code_knows_all_and_separates_little(rotated, generator):
    found = dci(rotated, generator)
    assert found.informativeness > 0.95
    assert 0.3 < found.disentanglement < 0.7  # two of four factors alike: 1 − ln 2/ln 4
    assert 0.3 < found.completeness < 0.7


def test_dci_of_noise_is_nought(noise, generator):
    found = dci(noise, generator)
    assert found.disentanglement < 0.1
    assert found.completeness < 0.1
    chance = np.mean([1 / 2, 1 / 4, 1 / 4, 1 / 5])
    assert found.informativeness == pytest.approx(chance, abs=0.06)


def test_weighted_certainty_by_hand():
    """Use rows that are certain, split between two of three, and useless (without weight)."""
    importance = np.array([[3.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    expected = 0.75 * 1 + 0.25 * (1 - np.log(2) / np.log(3))
    assert weighted_certainty(importance) == pytest.approx(expected, abs=1e-6)
    assert weighted_certainty(np.zeros((2, 3))) == 0
    assert weighted_certainty(np.array([[2.0], [1.0]])) == pytest.approx(1)


def of_two_values():
    """Make three factors of two values each, repeated many times."""
    factors = np.tile(np.indices((2, 2, 2)).reshape(3, -1).T, (60, 1))
    return factors, ("a", "b", "c")


def test_sap_of_a_perfect_code_of_two_values_is_nearly_one_half(generator):
    """Expect the best latent to be always right, and the second best to be at chance."""
    factors, names = of_two_values()
    codes = 2.0 * factors - 1
    found = separated_attribute_predictability(FactorCodes(codes, factors, names), generator)
    assert found == pytest.approx(0.5, abs=0.06)


def test_sap_of_noise_and_of_two_equal_latents_is_nought(generator):
    factors, names = of_two_values()
    codes = np.random.default_rng(3).standard_normal((len(factors), 3))
    noise = FactorCodes(codes, factors, names)
    assert separated_attribute_predictability(noise, generator) < 0.08
    twice = np.hstack([2.0 * factors - 1] * 2)
    twins = FactorCodes(twice, factors, names)
    assert separated_attribute_predictability(twins, generator) == pytest.approx(0, abs=1e-9)


def test_sap_of_a_single_latent_is_its_accuracy(generator):
    factors, names = of_two_values()
    one = FactorCodes(2.0 * factors[:, :1] - 1, factors, names)
    found = separated_attribute_predictability(one, generator)
    assert found == pytest.approx((1 + 0.5 + 0.5) / 3, abs=0.06)
