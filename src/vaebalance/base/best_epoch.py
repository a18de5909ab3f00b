"""Choice of the epoch whose weights become the trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaebalance.base.reports import EpochReport


class Candidate(NamedTuple):
    """Validation results of one epoch, in nats per image."""

    weighted_loss: float
    negative_elbo: float  # α = β = 1
    alpha: float
    beta: float
    settled: bool  # the balance's schedule was over, or its controller held its target

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Candidate:
        """Build a candidate from an epoch's metrics, named as in history.csv."""
        names = ("weighted_loss", "negative_elbo", "alpha", "beta")
        numbers = {name: metrics[f"validation/{name}"] for name in names}
        return cls(**numbers, settled=bool(metrics["settled"]))


def best_of(history: Sequence[EpochReport]) -> EpochReport:
    """Return the report of the epoch whose weights are kept: see `best_epoch`."""
    return history[best_epoch([_candidate(report) for report in history])]


def _candidate(report: EpochReport) -> Candidate:
    v = report.validation
    return Candidate(v.weighted_loss, v.negative_elbo, v.alpha, v.beta, report.settled)


def best_epoch(candidates: Sequence[Candidate]) -> int:
    """Return the index of the epoch whose weights are kept, out of at least one.

    It is the best of the uninterrupted settled epochs up to the last one, or the last epoch if the
    balance has not settled. Before a schedule or a controller settles, some epochs score better in
    validation, but at weights or targets other than the requested ones.
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
    """Return whether `candidate` minimises the training's objective better than `other`.

    With equal weights, compare the weighted losses: D + R would select an early epoch of a training
    with small β. If a controller changed the weights between the two, weighted losses are not
    comparable, so compare D + R.
    """
    if (candidate.alpha, candidate.beta) == (other.alpha, other.beta):
        return candidate.weighted_loss < other.weighted_loss
    return candidate.negative_elbo < other.negative_elbo
