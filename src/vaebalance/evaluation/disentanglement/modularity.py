"""Modularity (Ridgeway & Mozer 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def modularity(information: NDArray[np.float64]) -> float:
    """Mean over latents of 1 − Σ_{f ≠ f*} I_f² / ((F − 1)·I_{f*}²), f* the latent's best factor.

    A latent with no information at all counts 0; one with the little that noise has counts as if
    it had any, so that noise is modular, too.

    Args:
        information: [Z, F] nats, F ≥ 2.
    """
    squares = np.square(information)
    best = squares.max(axis=1)
    rest = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    known = best > 0
    scores = np.where(known, 1 - rest / np.where(known, best, 1), 0)
    return float(scores.mean())
