"""Options of `vaebalance study`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BEST: Literal["best"] = "best"
KNEE: Literal["knee"] = "knee"
Choice = int | Literal["best", "knee"]
"""A trial: its number, the best one by the objective's rule, or the knee of a frontier."""


@dataclass(frozen=True)
class Options:
    """Options of the command, at most one; none: run the study."""

    list: bool
    promote: Choice | None
