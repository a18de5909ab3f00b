"""How many trials to train at once, and which of them can be."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from vaebalance.base.reports import EpochReport
from vaebalance.run.training_run import Training
from vaebalance.stacking.together import Member, Together, incompatibility

LARGEST = 16
"""Trials at once where the model is small; beyond, little is gained (benchmarks/together.py)."""
CPU_WORK = 80_000_000
"""Multiply–accumulate operations of a step's forward pass from which a step uses a CPU fully, so
that stacking gains nothing. (784-400-20 in batches of 128 has 83.6 million.)"""
FEW, FEW_WORK = 4, 20_000_000
"""How many to train at once from so many operations on a CPU: more gain nothing. (784-400-20 in
batches of 64, 41.8 million: 2 to 8 at once took 0.85 to 0.98 of the time of one by one, and 16
took more.)"""
ROUNDS = 4
"""Groups, at least, that a sampler which learns is asked for: all at once would be blind."""


def group_size(*, work: int, device: torch.device, learns: bool, trials: int, workers: int) -> int:
    """Trials that a process trains at once where `tune.together` is auto.

    Args:
        work: multiply–accumulate operations of a step's forward pass.
        device: of the training.
        learns: whether the sampler goes by the trials before.
        trials: that the study shall have.
        workers: processes that share them.
    """
    if device.type == "cpu" and work >= CPU_WORK:
        return 1
    largest = FEW if device.type == "cpu" and work >= FEW_WORK else LARGEST
    return max(1, min(largest, trials // (workers * (ROUNDS if learns else 1))))


def alike(trainings: Sequence[Training]) -> tuple[list[list[int]], str | None]:
    """Group the indices of trainings that can be trained together; say why not all can, or None."""
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
    """Sources of reports for `Training.taking`, to be read in turn."""
    first = trainings[0]
    group = Together([_member(t) for t in trainings], first.images, first.validation)
    return [group.reports(index) for index in range(len(trainings))]


def _member(training: Training) -> Member:
    return Member(training.learner, training.spec, training.seed, len(training.history))
