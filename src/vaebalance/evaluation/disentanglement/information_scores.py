"""Scores from the mutual information of latents with factors, estimated from histograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes

BINS = 20
"""Equal intervals of each latent's range (Locatello et al. 2019)."""


def mutual_information(data: FactorCodes) -> NDArray[np.float64]:
    """Estimate the mutual information of each latent, cut into bins, with each factor: [Z, F] nats.

    Even a latent without information has (B − 1)(V − 1)/2N nats, for N images in B bins and V
    values.
    """
    bins = np.stack([_binned(latent) for latent in data.codes.T])
    return np.array([[_information(a, b) for b in data.factors.T] for a in bins])


def factor_entropies(data: FactorCodes) -> NDArray[np.float64]:
    """Compute the entropy of each factor: [F] nats."""
    return np.array([_information(column, column) for column in data.factors.T])


def mutual_information_gap(
    information: NDArray[np.float64], entropies: NDArray[np.float64]
) -> float:
    """Average (I₁ − I₂)/H over factors, with I₁ and I₂ of the two best latents (Chen et al. 2018).

    Args:
        information: [Z, F] nats; with a single latent the second best has none.
        entropies: entropies of the factors, [F] nats.
    """
    return float(np.mean(gap_of_best_two(information) / entropies))


def gap_of_best_two(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the second best of the latents' scores [Z, F], or 0, from the best: [F]."""
    ranked = np.sort(np.vstack([np.zeros_like(scores[:1]), scores]), axis=0)
    gap: NDArray[np.float64] = ranked[-1] - ranked[-2]
    return gap


def modularity(information: NDArray[np.float64]) -> float:
    """Average 1 − Σ_{f ≠ f*} I_f² / ((F − 1)·I_{f*}²) over latents (Ridgeway & Mozer 2018).

    f* is the latent's best factor. A latent without any information counts 0. One with as little as
    noise has counts as if it had much, so noise is modular, too.

    Args:
        information: [Z, F] nats, F ≥ 2.
    """
    squares = np.square(information)
    best = squares.max(axis=1)
    rest = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    known = best > 0
    scores = np.where(known, 1 - rest / np.where(known, best, 1), 0)
    return float(scores.mean())


def _binned(latent: NDArray[np.float64]) -> NDArray[np.int64]:
    edges = np.histogram_bin_edges(latent, BINS)
    binned: NDArray[np.int64] = np.digitize(latent, edges[1:-1])
    return binned


def _information(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Compute Σ p(a, b)·log(p(a, b) / p(a)p(b)) of two columns of small integers.

    It works with counts, so that independent columns have exactly 0.
    """
    joint = np.zeros((a.max() + 1, b.max() + 1), np.int64)
    np.add.at(joint, (a, b), 1)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    ratio = joint[seen] * len(a) / independent[seen]
    return max(0.0, float(np.sum(joint[seen] * np.log(ratio)) / len(a)))
