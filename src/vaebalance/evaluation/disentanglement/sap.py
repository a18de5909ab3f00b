"""Separated attribute predictability (Kumar et al. 2018)."""

from __future__ import annotations

import warnings

import numpy as np

from vaebalance.evaluation.disentanglement.factors import FactorCodes, train_and_test
from vaebalance.evaluation.disentanglement.mig import gap_of_best_two

LARGEST = (10_000, 5_000)
"""Images to learn from and to test on (Locatello et al. 2019)."""
REGULARISATION = 0.01
"""The C of their linear support vector machines."""


def separated_attribute_predictability(data: FactorCodes, generator: np.random.Generator) -> float:
    """Mean over factors of the accuracy of the best latent less that of the second best.

    Each latent alone predicts each factor by a linear support vector machine, one value against
    the rest: of a factor with many values no line through one latent can pick those in the
    middle, so that even a perfect code scores 1 for two values only.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

    train, test = train_and_test(len(data.codes), LARGEST, generator)
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
