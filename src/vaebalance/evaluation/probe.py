"""Classifiers on codes: the linear probe of the label, and the two-sample test."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed

LARGEST_ITERATIONS = 200
"""Iterations of the probe's optimiser; a probe stopped there predicts slightly worse."""
LEAST_POINTS = 10
"""Smallest number of points on each side: half of them train a classifier, half test it."""
HIDDEN = (32, 32)
"""Widths of the hidden layers."""
WEIGHT_DECAY = 0.01
PASSES = 60
"""Largest number of passes over the training half."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a classifier on points that it was not trained on."""

    value: float
    tested: int
    """Number of points."""

    @property
    def standard_error(self) -> float:
        """Standard error of a share of `tested` independent points."""
        return math.sqrt(self.value * (1 - self.value) / self.tested)


@dataclass(frozen=True)
class Probe:
    """A logistic regression from posterior means to labels."""

    accuracy: Accuracy
    """Accuracy on test images."""
    chance: float
    """Accuracy on them of always predicting the commonest label of the training images."""


def linear_probe(
    codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor
) -> Probe | None:
    """Train on codes [N, Z] with labels [N] (−1: none), and test on others.

    None without labelled images for both, or with a single label.
    """
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    codes, labels = codes[labels >= 0], labels[labels >= 0]
    test_codes, test_labels = test_codes[test_labels >= 0], test_labels[test_labels >= 0]
    if len(labels.unique()) < 2 or not len(test_labels):
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=LARGEST_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes")  # one a folder
        probe.fit(codes.double().numpy(), labels.numpy())
    accuracy = float(probe.score(test_codes.double().numpy(), test_labels.numpy()))
    commonest = labels.mode().values
    return Probe(
        Accuracy(accuracy, len(test_labels)), float((test_labels == commonest).double().mean())
    )


def two_sample_accuracy(a: Tensor, b: Tensor, seed: int) -> Accuracy | None:
    """Measure how well a small network tells points a [N, d] from b [M, d] (Lopez-Paz 2017).

    Half of each trains it, and as many others test it: 0.5 if indistinguishable, 1 if separate.
    None if there are too few points.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

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
        warnings.simplefilter("ignore", ConvergenceWarning)  # PASSES is a limit, not a goal
        classifier.fit(train.numpy(), sides)
    return Accuracy(float(classifier.score(test.numpy(), sides)), 2 * half)
