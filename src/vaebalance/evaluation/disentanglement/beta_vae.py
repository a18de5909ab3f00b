"""The β-VAE score (Higgins et al. 2017)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes, Indices

POINTS = (10_000, 5_000)
"""To learn from, to test on (Locatello et al. 2019)."""
BATCH = 64
"""Pairs of images behind a point."""
AT_ONCE = 1_000
"""Points that are held at once."""


def beta_vae_score(data: FactorCodes, generator: np.random.Generator) -> float:
    """How often a linear classifier tells which factor pairs of images share.

    It reads E|z − z'| of each latent over pairs that share the value of that factor.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    (train, shared), (test, test_shared) = (_points(data, count, generator) for count in POINTS)
    classifier = LogisticRegression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(train, shared)
    return float(classifier.score(test, test_shared))


def _points(
    data: FactorCodes, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], Indices]:
    """Mean absolute differences [count, Z], and the factor shared by each one's pairs [count]."""
    shared = np.sort(generator.integers(len(data.names), size=count))
    points = np.empty((count, data.latents))
    for start in range(0, count, AT_ONCE):
        rows = shared[start : start + AT_ONCE]
        one = generator.integers(len(data.codes), size=(len(rows), BATCH))
        other = np.empty_like(one)
        for factor in np.unique(rows):
            same = rows == factor
            partners = data.sharing(factor, one[same].ravel(), 1, generator)
            other[same] = partners.reshape(-1, BATCH)
        difference = np.abs(data.codes[one] - data.codes[other])
        points[start : start + len(rows)] = difference.mean(axis=1)
    return points, shared
