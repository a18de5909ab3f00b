"""Write and read the benchmarks' results, one small JSON file for each table.

    benchmarks/results/SCRIPT.json, or SCRIPT-PART.json where a script has several tables

Each file states what was run where: command, commit, date, processor, threads, versions. The rows
are a list of flat dictionaries. The files are committed; `make tables` fills the tables of the
documentation from them (tables.py).
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaebalance.base.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "results"
SCRATCH = ROOT / "benchmarks" / "scratch"
"""What git ignores: pictures, and what a script needs to resume."""
PACKAGES = ("torch", "numpy", "scikit-learn", "optuna", "mlflow", "dvc", "pythae")
"""Their versions are recorded where they are installed."""
NO_CODE = (":!benchmarks/results", ":!*.md")
"""What may differ from the commit, since no number rests on it."""
DIGITS = 6
"""Significant digits that are written of a number."""
Row = dict[str, Any]


class Table(NamedTuple):
    """How the documentation shows a result."""

    columns: dict[str, str]  # title -> format string over a row, as in "{seconds:.1f} s"
    by: tuple[str, ...] = ()  # show rows that agree in these keys as one, numbers as ranges


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, with an option `--out` added, and note what is being run."""
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="folder of the results (benchmarks/results)"
    )
    origin()
    return parser.parse_args()


def write_result(name: str, rows: Sequence[Row], folder: Path = FOLDER, **facts: Any) -> None:
    """Write `rows` to `folder`/`name`.json, after what was run where and further `facts`.

    Numbers are rounded to 6 significant digits; those that are not finite become null.
    """
    head = json.dumps(origin() | machine() | _rounded(facts), indent=1, ensure_ascii=False)
    lines = [f"  {json.dumps(_rounded(row), ensure_ascii=False)}" for row in rows]
    text = ",\n".join(lines)
    write_text(folder / f"{name}.json", f'{head[:-2]},\n "rows": [\n{text}\n ]\n}}\n')


def read_result(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Read what `write_result` wrote.

    Raises:
        FileNotFoundError: there is no such result.
    """
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


def script_of(name: str) -> Path:
    """Return the script that writes the result `name`, whether or not there is one."""
    return ROOT / "benchmarks" / f"{name.partition('-')[0]}.py"


def on_device(name: str, device: str | torch.device) -> str:
    """Name the result of a script that ran on `device`: those of CUDA have files of their own."""
    return f"{name}-cuda" if str(device).startswith("cuda") else name


@functools.cache
def origin() -> dict[str, Any]:
    """State command, commit and date; cached, since the sources may change during a long run."""
    script = Path(sys.argv[0])
    inside = script.resolve().is_relative_to(ROOT)
    shown = script.resolve().relative_to(ROOT).as_posix() if inside else script.name
    return {
        "command": f"python {shlex.join([shown, *sys.argv[1:]])}",
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _git("status", "--porcelain", "-uno", "--", ".", *NO_CODE) != "",
        "date": datetime.now(UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def machine() -> dict[str, Any]:
    """State processor, threads and versions."""
    installed = {each.metadata["Name"]: each.version for each in distributions()}
    versions = {name: installed[name] for name in PACKAGES if name in installed}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {"python": platform.python_version()} | versions,
    }


def processor() -> str:
    """Return the machine's name for its processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _git(*arguments: str) -> str:
    """Return what git prints; in a copy without a repository, "unknown"."""
    if not (ROOT / ".git").exists():
        return "unknown"
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
