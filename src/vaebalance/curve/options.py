"""Options of `vaebalance curve`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Quantity = Literal["rate", "distortion", "rmse", "psnr"]
KNEE: Literal["knee"] = "knee"
BEST: Literal["best"] = "best"
Choice = float | Literal["knee", "best"]
"""A β: a number, the knee of D and R, or the β with the best nll."""


@dataclass(frozen=True)
class Options:
    """Options of the command, at most one; none: train and trace the curve."""

    target: tuple[Quantity, float] | None = None
    promote: Choice | None = None
    distill: tuple[Choice, Path] | None = None
