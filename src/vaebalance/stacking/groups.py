"""Decide how many trials to train at once, and which of them can be stacked."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from vaebalance.base.reports import EpochReport
from vaebalance.run.training_run import Training
from vaebalance.stacking.together import Member, Together, incompatibility

LARGEST = 16
"""Trials to train at once for a small model; more gain little (benchmarks/together.py)."""
CPU_WORK = 80_000_000
"""Multiply–accumulate operations of a step's forward pass from which a step uses a CPU fully, so
that stacking gains nothing. (784-400-20 in batches of 128 has 83.6 million.)"""
FEW, FEW_WORK = 4, 20_000_000
"""Trials to train at once on a CPU for a step of at least FEW_WORK operations; more gain nothing.
(784-400-20 in batches of 64, 41.8 million: 2 to 8 at once took 0.85 to 0.98 of the time of one by
one, and 16 took more.)"""
ROUNDS = 4
"""Minimum number of groups for a sampler that learns, which needs results between groups."""


def group_size(*, work: int, device: torch.device, learns: bool, trials: int, workers: int) -> int:
    """Return the number of trials that a process trains at once if `tune.together` is auto.

    Args:
        work: multiply–accumulate operations of a step's forward pass.
        device: device of the training.
        learns: whether the sampler uses the results of earlier trials.
        trials: planned number of trials of the study.
        workers: number of processes that share the trials.
    """
    if device.type == "cpu" and work >= CPU_WORK:
        return 1
    largest = FEW if device.type == "cpu" and work >= FEW_WORK else LARGEST
    return max(1, min(largest, trials // (workers * (ROUNDS if learns else 1))))


def alike(trainings: Sequence[Training]) -> tuple[list[list[int]], str | None]:
    """Group the indices of trainings that can be trained together.

    Returns:
        The groups, and the reason why there are several; None: there is one.
    """
    members = [_member(training) for training in trainings]
    reason = incompatibility(members)
    if reason is None:
        return [list(range(len(members)))], None
    groups: list[list[int]] = []
    for index, member in enumerate(members):
        for group in groups:
            if incompatibility([members[group[0]], member]) is None:
                group.append(index)
                break
        else:
            groups.append([index])
    return groups, reason


def join(trainings: Sequence[Training]) -> list[Generator[EpochReport]]:
    """Return a source of reports for each training's `taking`; read the sources in turn."""
    first = trainings[0]
    group = Together([_member(t) for t in trainings], first.images, first.validation)
    return [group.reports(index) for index in range(len(trainings))]


def _member(training: Training) -> Member:
    return Member(training.learner, training.spec, training.seed, len(training.history))
