"""The classifier two-sample test (Lopez-Paz & Oquab 2017)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed

LEAST_POINTS = 10
"""Of each side: half of them must both train and test a classifier."""
HIDDEN = (32, 32)
"""Widths of the network's layers."""
WEIGHT_DECAY = 0.01
PASSES = 60
"""Over the training half, at most."""


@dataclass(frozen=True)
class Accuracy:
    """Of a classifier on points that it was not trained on."""

    value: float
    tested: int
    """Points."""

    @property
    def standard_error(self) -> float:
        """Of a share of `tested` independent points."""
        return math.sqrt(self.value * (1 - self.value) / self.tested)


def two_sample_accuracy(a: Tensor, b: Tensor, seed: int) -> Accuracy | None:
    """How well a small network tells points a [N, d] from b [M, d].

    Half of each trains it, as many others test it: 0.5 is indistinguishable, 1 apart. None where
    there are too few points for both.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    if min(len(a), len(b)) < LEAST_POINTS:
        return None
    half = min(len(a), len(b)) // 2
    generator = torch.Generator().manual_seed(derive_seed(seed, "two samples"))
    shuffled = [points[torch.randperm(len(points), generator=generator)] for points in (a, b)]
    train = torch.cat([points[:half] for points in shuffled])
    test = torch.cat([points[half : 2 * half] for points in shuffled])
    sides = torch.tensor([0, 1]).repeat_interleave(half).numpy()
    network = MLPClassifier(
        HIDDEN, alpha=WEIGHT_DECAY, max_iter=PASSES, random_state=derive_seed(seed, "net") % 2**32
    )
    classifier = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its end is a limit, not a goal
        classifier.fit(train.numpy(), sides)
    return Accuracy(float(classifier.score(test.numpy(), sides)), 2 * half)
