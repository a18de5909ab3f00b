"""The FactorVAE score (Kim & Mnih 2018)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes, Indices

VOTES = (10_000, 5_000)
"""To learn from, to test on (Locatello et al. 2019)."""
BATCH = 64
"""Images that share a factor's value."""
LEAST_STD = 0.05
"""A latent whose code varies less is left out."""
AT_ONCE = 1_000
"""Votes that are held at once."""


def factor_vae_score(data: FactorCodes, generator: np.random.Generator) -> float:
    """How often the latent that varies least, over its usual variance, tells the fixed factor.

    A vote: of images that share the value of one factor, the latent of least relative variance.
    Each latent stands for the factor for which it was voted most often; tested on new votes. 0
    where no latent varies at all.
    """
    variances = data.codes.var(axis=0, ddof=1)
    varying = np.sqrt(variances) >= LEAST_STD
    if not varying.any():
        return 0.0
    scaled = data.codes[:, varying] / np.sqrt(variances[varying])
    tables = [_table(data, scaled, count, generator) for count in VOTES]
    meaning = tables[0].argmax(axis=1)
    right = tables[1][np.arange(len(meaning)), meaning].sum()
    return float(right / tables[1].sum())


def _table(
    data: FactorCodes, codes: NDArray[np.float64], votes: int, generator: np.random.Generator
) -> Indices:
    """[latents, F] how often each latent was voted for while each factor was fixed."""
    table = np.zeros((codes.shape[1], len(data.names)), np.int64)
    for fixed, count in _parts(votes, len(data.names), generator):
        first = generator.integers(len(codes), size=count)
        batches = codes[data.sharing(fixed, first, BATCH, generator)]
        voted = batches.var(axis=1, ddof=1).argmin(axis=1)
        table[:, fixed] += np.bincount(voted, minlength=len(table))
    return table


def _parts(votes: int, factors: int, generator: np.random.Generator) -> Iterator[tuple[int, int]]:
    """The factor and number of votes that are taken together; factors are drawn evenly."""
    for factor, count in enumerate(np.bincount(generator.integers(factors, size=votes))):
        for start in range(0, int(count), AT_ONCE):
            yield factor, min(AT_ONCE, int(count) - start)
