"""A study's trials as plain data, wherever they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vaebalance.study.search.pruning import Reading
from vaebalance.study.space import Point

State = Literal["running", "finished", "pruned", "diverged"]
ENDED = ("finished", "pruned")
"""States of the trials that a study counts; a diverged trial is replaced by another."""


@dataclass(frozen=True)
class Trial:
    """One point of the space and its outcome."""

    number: int  # from 0
    point: Point
    state: State
    values: tuple[float, ...] | None  # one for each goal, once finished
    violation: float | None  # ≤ 0 where the objective's target is met; None: it has none
    results: Mapping[str, Any]  # distortion, rate, … once finished; a reason once diverged
    worker: str  # the worker that runs it, or ran it last
    rungs: Mapping[int, Reading] = field(default_factory=dict)  # epoch -> the objective there


@dataclass(frozen=True)
class Outcome:
    """What a finished trial leaves."""

    values: tuple[float, ...]
    results: Mapping[str, Any]  # plain data worth keeping
    violation: float | None = None  # ≤ 0 where the objective's target is met
    files: Mapping[str, bytes] = field(default_factory=dict)  # kept with the trial, by name
