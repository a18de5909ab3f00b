"""Mutual information gap (Chen et al. 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mutual_information_gap(
    information: NDArray[np.float64], entropies: NDArray[np.float64]
) -> float:
    """Mean over factors of (I₁ − I₂)/H: the best latent's information over the second best's.

    Args:
        information: [Z, F] nats; of a single latent the second best has none.
        entropies: of the factors, [F] nats.
    """
    return float(np.mean(gap_of_best_two(information) / entropies))


def gap_of_best_two(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of latents' scores [Z, F] the best less the second best, or less 0: [F]."""
    ranked = np.sort(np.vstack([np.zeros_like(scores[:1]), scores]), axis=0)
    gap: NDArray[np.float64] = ranked[-1] - ranked[-2]
    return gap
