"""Which epoch's weights are the trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """An epoch by its validation numbers; nats per image."""

    weighted_loss: float
    negative_elbo: float  # α = β = 1
    alpha: float
    beta: float
    settled: bool  # the balance's schedule was over, or its controller held its target

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Candidate:
        """From the numbers of an epoch by their names in history.csv."""
        names = ("weighted_loss", "negative_elbo", "alpha", "beta")
        numbers = {name: metrics[f"validation/{name}"] for name in names}
        return cls(**numbers, settled=bool(metrics["settled"]))


def best_epoch(candidates: Sequence[Candidate]) -> int:
    """The index of the epoch whose weights are kept, of at least one.

    The best of the unbroken run of settled epochs that ends with the last one; the last epoch
    itself while the balance has not settled. A schedule or a controller on its way passes weights
    that validation likes better, and targets that it does not hold: the models of those epochs are
    not what was asked for.
    """
    last = len(candidates) - 1
    first = last
    while first > 0 and candidates[last].settled and candidates[first - 1].settled:
        first -= 1
    best = first
    for index in range(first + 1, last + 1):
        if is_better(candidates[index], candidates[best]):
            best = index
    return best


def is_better(candidate: Candidate, other: Candidate) -> bool:
    """Whether `candidate` is the better model of what the training minimises.

    By the weighted loss where both have the same weights: D + R would stop a small β when it has
    hardly begun, with a model of another weight. By D + R where a controller moved the weights,
    and the weighted losses do not compare.
    """
    if (candidate.alpha, candidate.beta) == (other.alpha, other.beta):
        return candidate.weighted_loss < other.weighted_loss
    return candidate.negative_elbo < other.negative_elbo
