"""Numbers on their way to MLflow: curves from CSV files, and flattened JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vaebalance.base.errors import UserError

PARAM_LENGTH = 6000  # MLflow's limit
KNOBS = "settings"
TIMING = ("seconds", "images_per_second")
"""Names that differ between two runs of the same training; they are never compared."""


class Point(NamedTuple):
    """One value of one curve."""

    key: str
    value: float
    step: int
    timestamp: int  # Unix time in ms


def read_curves(history: Path, timing: Path) -> list[Point]:
    """Read the points of history.csv and timing.csv, timed at the end of their epochs.

    An epoch that timing.csv lacks gets the time of history.csv itself.

    Raises:
        UserError: a cell is not a number.
    """
    if not history.exists():
        return []
    times = {row["epoch"]: row for row in _rows(timing)} if timing.exists() else {}
    written = int(history.stat().st_mtime * 1000)
    points = []
    for row in _rows(history):
        clock = times.get(row["epoch"], {})
        timestamp = int(clock.get("finished_at", written))
        step = int(row["step"])
        values = {name: value for name, value in row.items() if name != "step"}
        values |= {name: clock[name] for name in TIMING if name in clock}
        points += [Point(name, value, step, timestamp) for name, value in values.items()]
    return points


def _rows(path: Path) -> Iterator[dict[str, float]]:
    """Iterate over the rows of a CSV file of numbers; empty cells are left out."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                yield {name: float(cell) for name, cell in row.items() if cell}
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{path}, line {number}: {error}; every cell must be a number. Delete the "
                    "file and run `dvc repro`, which writes it again."
                ) from error


def flatten(nested: Any, separator: str, prefix: str = "") -> dict[str, Any]:
    """Flatten {"a": {"b": 1}} to {"a.b": 1}; an empty mapping or list stays as a leaf."""
    if not isinstance(nested, Mapping) or not nested:
        return {prefix: nested} if prefix else {}
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        key = f"{prefix}{separator}{name}" if prefix else str(name)
        flat |= flatten(value, separator, key)
    return flat


def read_metrics(path: Path, prefix: str = "") -> dict[str, float]:
    """Read the numbers of a metrics file: {"test": {"rate": 1}} -> {"test/rate": 1.0}.

    A `prefix` keeps them apart from curves of the same name: {"prefix/test_rate": 1.0}. null (does
    not apply), text and the section `settings` are left out.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop(KNOBS, None)
    flat = flatten(content, "_" if prefix else "/")
    return {
        f"{prefix}/{name}" if prefix else name: float(value)
        for name, value in flat.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def same(a: float, b: float) -> bool:
    """Return whether two numbers are equal to the precision of a text file; NaN equals NaN."""
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))


def param_text(value: Any) -> str:
    """Return a parameter as YAML shows it; long ones are cut (provenance.json has them whole)."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= PARAM_LENGTH else text[: PARAM_LENGTH - 1] + "…"
