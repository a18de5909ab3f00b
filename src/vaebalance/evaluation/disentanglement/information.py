"""Mutual information of latents with factors, from histograms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaebalance.evaluation.disentanglement.factors import FactorCodes

BINS = 20
"""Equal intervals of each latent's range (Locatello et al. 2019)."""


def mutual_information(data: FactorCodes) -> NDArray[np.float64]:
    """Of each latent, cut into bins, with each factor: [Z, F] nats.

    A latent that knows nothing has (B − 1)(V − 1)/2N nats all the same, of N images in B bins and
    V values.
    """
    bins = np.stack([_binned(latent) for latent in data.codes.T])
    return np.array([[_information(a, b) for b in data.factors.T] for a in bins])


def factor_entropies(data: FactorCodes) -> NDArray[np.float64]:
    """[F] nats."""
    return np.array([_information(column, column) for column in data.factors.T])


def _binned(latent: NDArray[np.float64]) -> NDArray[np.int64]:
    edges = np.histogram_bin_edges(latent, BINS)
    binned: NDArray[np.int64] = np.digitize(latent, edges[1:-1])
    return binned


def _information(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Σ p(a, b)·log(p(a, b) / p(a)p(b)) of two columns of small whole numbers.

    In counts, so that what is independent has exactly 0.
    """
    joint = np.zeros((a.max() + 1, b.max() + 1), np.int64)
    np.add.at(joint, (a, b), 1)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    ratio = joint[seen] * len(a) / independent[seen]
    return max(0.0, float(np.sum(joint[seen] * np.log(ratio)) / len(a)))
