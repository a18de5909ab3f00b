"""Scores from images that share the value of one factor: FactorVAE and β-VAE scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes, Indices

VOTES = (10_000, 5_000)
"""Votes to learn from and to test on (Locatello et al. 2019)."""
POINTS = (10_000, 5_000)
"""Points to learn from and to test on (Locatello et al. 2019)."""
BATCH = 64
"""Images per vote, and pairs of images per point."""
AT_ONCE = 1_000
"""Votes or points that are computed at once."""
LEAST_STD = 0.05
"""A latent whose code has a smaller standard deviation is left out."""


def factor_vae_score(data: FactorCodes, generator: np.random.Generator) -> float:
    """Measure how often the latent that varies least identifies the fixed factor (Kim & Mnih 2018).

    A vote names the latent of least variance, relative to its usual one, among images that share
    the value of one factor. Each latent stands for the factor for which it got most votes; new
    votes test this. 0 if no latent varies.
    """
    variances = data.codes.var(axis=0, ddof=1)
    varying = np.sqrt(variances) >= LEAST_STD
    if not varying.any():
        return 0.0
    scaled = data.codes[:, varying] / np.sqrt(variances[varying])
    tables = [_vote_table(data, scaled, count, generator) for count in VOTES]
    meaning = tables[0].argmax(axis=1)
    right = tables[1][np.arange(len(meaning)), meaning].sum()
    return float(right / tables[1].sum())


def _vote_table(
    data: FactorCodes, codes: NDArray[np.float64], votes: int, generator: np.random.Generator
) -> Indices:
    """Count how often each latent got the vote while each factor was fixed: [latents, F]."""
    table = np.zeros((codes.shape[1], len(data.names)), np.int64)
    for fixed, count in _vote_batches(votes, len(data.names), generator):
        first = generator.integers(len(codes), size=count)
        batches = codes[data.sharing(fixed, first, BATCH, generator)]
        voted = batches.var(axis=1, ddof=1).argmin(axis=1)
        table[:, fixed] += np.bincount(voted, minlength=len(table))
    return table


def _vote_batches(
    votes: int, factors: int, generator: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Iterate over factors, drawn evenly, with the number of votes to compute together."""
    for factor, count in enumerate(np.bincount(generator.integers(factors, size=votes))):
        for start in range(0, int(count), AT_ONCE):
            yield factor, min(AT_ONCE, int(count) - start)


def beta_vae_score(data: FactorCodes, generator: np.random.Generator) -> float:
    """Measure how often a linear classifier identifies the shared factor (Higgins et al. 2017).

    Its input is E|z − z'| of each latent over pairs of images that share the value of that factor.
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
    """Compute mean absolute differences [count, Z], and the factor that the pairs share [count]."""
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
