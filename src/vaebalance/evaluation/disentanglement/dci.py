"""Disentanglement, completeness and informativeness (Eastwood & Williams 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes, train_and_test

LARGEST = (3_000, 1_500)
"""Images to learn from and to test on. (10,000 and 5,000 with Locatello et al. 2019: their trees,
one for each value of a factor and round, would take minutes.)"""
NOTHING = 1e-11
"""Added to importances, so that those of a useless latent are spread evenly, as in their code."""


@dataclass(frozen=True)
class Dci:
    """Each in [0, 1]."""

    disentanglement: float
    """1 when every latent matters to one factor only."""
    completeness: float
    """1 when every factor needs one latent only."""
    informativeness: float
    """Accuracy of predicting the factors of test images, averaged over factors."""
    importance: NDArray[np.float64]  # [Z, F], of a latent in predicting a factor; a factor's sum 1


def dci(data: FactorCodes, generator: np.random.Generator) -> Dci:
    """By the importances of gradient-boosted trees that predict each factor from the codes."""
    from sklearn.ensemble import GradientBoostingClassifier  # type: ignore[import-untyped]

    train, test = train_and_test(len(data.codes), LARGEST, generator)
    importance = np.zeros((data.latents, len(data.names)))
    accuracies = []
    for factor, values in enumerate(data.factors.T):
        trees = GradientBoostingClassifier(random_state=int(generator.integers(2**31)))
        if len(np.unique(values[train])) > 1:
            trees.fit(data.codes[train], values[train])
            importance[:, factor] = trees.feature_importances_
            accuracies.append(trees.score(data.codes[test], values[test]))
        else:
            accuracies.append(float(np.mean(values[test] == values[train][0])))
    return Dci(
        disentanglement=weighted_certainty(importance),
        completeness=weighted_certainty(importance.T),
        informativeness=float(np.mean(accuracies)),
        importance=importance,
    )


def weighted_certainty(importance: NDArray[np.float64]) -> float:
    """Σ_i ρ_i·(1 − H(P_i)), P_i row i as a distribution, ρ_i its share of all importance.

    H is the entropy in units of its largest value; 0 for a row of one entry.
    """
    total = importance.sum()
    if total == 0:
        return 0.0
    rows = importance + NOTHING
    shares = rows / rows.sum(axis=1, keepdims=True)
    entropies = -np.sum(shares * np.log(shares), axis=1)
    scale = np.log(importance.shape[1]) if importance.shape[1] > 1 else 1.0
    return float(np.sum((importance.sum(axis=1) / total) * (1 - entropies / scale)))
