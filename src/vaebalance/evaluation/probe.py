"""How much of the label a linear classifier reads from the codes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from torch import Tensor

from vaebalance.evaluation.two_sample import Accuracy

LARGEST_ITERATIONS = 200
"""Of the optimiser; a probe stopped there reads a little less."""


@dataclass(frozen=True)
class Probe:
    """A logistic regression from posterior means to labels."""

    accuracy: Accuracy
    """On test images."""
    chance: float
    """What always saying the commonest label of the training images would reach on them."""


def linear_probe(
    codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor
) -> Probe | None:
    """Train on codes [N, Z] with labels [N] (−1: none), test on others.

    None without labelled images to train and to test on, or with a single label to read.
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
