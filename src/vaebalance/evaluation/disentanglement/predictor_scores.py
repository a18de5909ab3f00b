"""Scores from predicting factors by latents: DCI and SAP."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes, train_and_test
from vaebalance.evaluation.disentanglement.information_scores import gap_of_best_two

DCI_IMAGES = (3_000, 1_500)
"""Images to learn from and to test on. (Locatello et al. 2019 use 10,000 and 5,000: their trees,
one per value of a factor and round, would take minutes.)"""
NOTHING = 1e-11
"""Added to importances, as in their code, so that those of a useless latent are spread evenly."""
SAP_IMAGES = (10_000, 5_000)
"""Images to learn from and to test on (Locatello et al. 2019)."""
REGULARISATION = 0.01
"""The C of the linear support vector machines."""


@dataclass(frozen=True)
class Dci:
    """Disentanglement, completeness, informativeness in [0, 1] (Eastwood & Williams 2018)."""

    disentanglement: float
    """1 if every latent matters to only one factor."""
    completeness: float
    """1 if every factor needs only one latent."""
    informativeness: float
    """Accuracy of predicting the factors of test images, averaged over factors."""
    importance: NDArray[np.float64]  # [Z, F] of latents for predicting factors; sums of 1 by factor


def dci(data: FactorCodes, generator: np.random.Generator) -> Dci:
    """Compute DCI from the importances in boosted trees that predict each factor from the codes."""
    from sklearn.ensemble import GradientBoostingClassifier  # type: ignore[import-untyped]

    train, test = train_and_test(len(data.codes), DCI_IMAGES, generator)
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
    """Compute Σ_i ρ_i·(1 − H(P_i)) for rows P_i as distributions, ρ_i their share of the total.

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


def separated_attribute_predictability(data: FactorCodes, generator: np.random.Generator) -> float:
    """Average the best latent's accuracy minus the second best's over factors (Kumar 2018).

    Each latent alone predicts each factor by a linear support vector machine, one value against the
    rest. For a factor with many values no threshold on one latent picks the middle ones, so even a
    perfect code scores 1 only for two values.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

    train, test = train_and_test(len(data.codes), SAP_IMAGES, generator)
    scores = np.zeros((data.latents, len(data.names)))
    for latent, factor in np.ndindex(scores.shape):
        codes, values = data.codes[:, [latent]], data.factors[:, factor]
        if len(np.unique(values[train])) < 2:
            continue
        machine = LinearSVC(C=REGULARISATION, class_weight="balanced", dual=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(codes[train], values[train])
        scores[latent, factor] = machine.score(codes[test], values[test])
    return float(np.mean(gap_of_best_two(scores)))
