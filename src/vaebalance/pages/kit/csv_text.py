"""Tables as CSV with unrounded numbers; the same rows give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from vaebalance.base.files import csv_bytes

Cell = str | float | int | bool | None


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Write the table as UTF-8 CSV; None and NaN become empty cells."""
    return csv_bytes(header, ([_cell(value) for value in row] for row in rows), "\n")


def _cell(value: Cell) -> Cell:
    if isinstance(value, str):
        # Quote text that a spreadsheet would evaluate as a formula.
        return f"'{value}" if value[:1] in ("=", "+", "-", "@") and len(value) > 1 else value
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
