"""Mutual information, MIG and modularity against scikit-learn, closed forms and known scores."""

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from vaebalance.evaluation.disentanglement.factors import FactorCodes
from vaebalance.evaluation.disentanglement.information_scores import (
    factor_entropies,
    gap_of_best_two,
    modularity,
    mutual_information,
    mutual_information_gap,
)


def test_information_is_scikit_learns_of_the_protocols_bins(rotated):
    """Cut 20 bins like disentanglement_lib: np.digitize by all edges but the last."""
    found = mutual_information(rotated)
    for latent in range(4):
        codes = rotated.codes[:, latent]
        binned = np.digitize(codes, np.histogram(codes, 20)[1][:-1])
        for factor in range(4):
            expected = mutual_info_score(binned, rotated.factors[:, factor])
            assert found[latent, factor] == pytest.approx(expected, abs=1e-12)


def test_entropies_of_evenly_spread_factors(perfect):
    expected = [math.log(size) for size in (2, 4, 4, 5)]
    assert factor_entropies(perfect) == pytest.approx(expected)


def test_a_perfect_code_has_gap_one_and_is_modular(perfect):
    information = mutual_information(perfect)
    assert mutual_information_gap(information, factor_entropies(perfect)) == pytest.approx(1)
    assert modularity(information) == pytest.approx(1)


def test_a_rotated_code_has_no_gap_and_is_less_modular(rotated):
    """Use codes with each factor equally in two latents, and each latent with two factors."""
    information = mutual_information(rotated)
    gap = mutual_information_gap(information, factor_entropies(rotated))
    assert gap == pytest.approx(0, abs=0.01)
    assert modularity(information) == pytest.approx(1 - 1 / 3, abs=0.01)


def test_noise_has_no_gap(noise):
    information = mutual_information(noise)
    assert mutual_information_gap(information, factor_entropies(noise)) < 0.02
    bias = 19 * np.array([1, 3, 3, 4]) / (2 * len(noise.codes))
    assert information.mean(0) == pytest.approx(bias, rel=0.35)


def test_the_gap_by_hand():
    information = np.array([[0.6, 0.1], [0.2, 0.4], [0.0, 0.3]])
    gap = mutual_information_gap(information, np.array([0.8, 0.5]))
    assert gap == pytest.approx(((0.6 - 0.2) / 0.8 + (0.4 - 0.3) / 0.5) / 2)
    assert gap_of_best_two(np.array([[0.7, 0.2]])).tolist() == [0.7, 0.2]


def test_modularity_by_hand():
    """Expect 1 − (0.1/0.6)², 1 − (0.2/0.4)², and 0 for a latent without information."""
    information = np.array([[0.6, 0.1], [0.2, 0.4], [0.0, 0.0]])
    expected = ((1 - 1 / 36) + (1 - 1 / 4) + 0) / 3
    assert modularity(information) == pytest.approx(expected)


def test_a_latent_that_never_moves_has_no_information(perfect):
    still = FactorCodes(np.zeros((len(perfect.codes), 2)), perfect.factors, perfect.names)
    assert (mutual_information(still) == 0).all()
    assert modularity(mutual_information(still)) == 0
