"""The arguments of pipelines/compare.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OUT = Path("artifacts/compare")
MOST_RUNS = 8
EPILOG = """\
A run is named by its MLflow id, its fingerprint (the beginning of either is enough, if no other
run begins so), its name in MLflow, or its name in `dvc exp show`.

examples:
  python pipelines/compare.py tidal-newt brown-owl
  python pipelines/compare.py 3f2a be76f22f --out artifacts/low-and-high-beta
  python pipelines/compare.py --list
"""


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    runs: tuple[str, ...]
    out: Path
    """A folder, for the page and its figures."""
    list: bool


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; a wrong one exits with 2, `--help` with 0."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/compare.py",
        description="Several evaluated runs side by side on one page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"two to {MOST_RUNS} runs")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the page's folder ({OUT})")
    parser.add_argument("--list", action="store_true", help="show the runs that there are")
    found = parser.parse_args(arguments)
    if found.list and found.runs:
        parser.error("--list takes no run")
    if not found.list and not 2 <= len(found.runs) <= MOST_RUNS:
        parser.error(f"give two to {MOST_RUNS} runs, not {len(found.runs)}; --list shows them")
    return Options(tuple(found.runs), found.out, found.list)
