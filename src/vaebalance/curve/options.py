"""What a person asks of a curve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Quantity = Literal["rate", "distortion", "rmse", "psnr"]
KNEE: Literal["knee"] = "knee"
BEST: Literal["best"] = "best"
Choice = float | Literal["knee", "best"]
"""A β: a number, the knee of D and R, or that of the best nll."""


@dataclass(frozen=True)
class Options:
    """What was asked for; nothing: train and trace the curve."""

    target: tuple[Quantity, float] | None = None
    promote: Choice | None = None
    distill: tuple[Choice, Path] | None = None
