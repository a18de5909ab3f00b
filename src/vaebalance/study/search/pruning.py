"""Prune by asynchronous successive halving: stop a trial that too many others beat at an epoch.

After Li et al. 2020 (ASHA), its stopping variant; with several goals, or a target, by dominance
(as Schmucker et al. 2021, without their choice among the points of the front): a point of the front
is never stopped, however many there are, since the front is what such a study is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from vaebalance.evaluation.metrics import Better

FACTOR = 3
"""One in `FACTOR` trials continues from a rung."""
RUNGS = 2
"""Epochs E/9 and E/3 of E: earlier ones say little about the end."""


class Reading(NamedTuple):
    """The objective's numbers of a trial in training."""

    values: tuple[float, ...]
    """One for each goal."""
    violation: float | None = None
    """At most 0 where the objective's target is met; None: it has none."""

    def losses(self, better: Sequence[Better]) -> tuple[float, ...]:
        """Return numbers to minimise; with a target, the last is the miss (0: met)."""
        values = [v if b == "lower" else -v for v, b in zip(self.values, better, strict=True)]
        return (*values, *([] if self.violation is None else [max(self.violation, 0.0)]))


class PrunedError(Exception):
    """Raised to stop a trial where others do better at the same epoch."""


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs, ascending, after which a training is judged; never its last one."""
    judged = {math.ceil(epochs / FACTOR**power) for power in range(1, RUNGS + 1)}
    return tuple(sorted(judged - {epochs}))


def is_hopeless(reading: Reading, others: Sequence[Reading], better: Sequence[Better]) -> bool:
    """Return whether more trials beat this one than may continue from the rung.

    Args:
        reading: reading of the trial.
        others: readings of all other trials that reached the epoch, including those stopped there.
        better: better end of each number.
    """
    losses = reading.losses(better)
    ahead = sum(_beats(other.losses(better), losses) for other in others)
    return ahead >= max(1, (len(others) + 1) // FACTOR)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
