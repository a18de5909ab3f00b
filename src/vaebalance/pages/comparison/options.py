"""What a person asks of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OUT = Path("artifacts/compare")
MOST_RUNS = 8


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    runs: tuple[str, ...]
    out: Path
    """A folder, for the page and its figures."""
    list: bool
