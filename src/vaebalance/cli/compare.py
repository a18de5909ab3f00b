"""`vaebalance compare`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from vaebalance.cli.parser import Parser
from vaebalance.pages.comparison.options import MOST_RUNS, OUT, Options

SUMMARY = "put several evaluated runs side by side on one page"


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = "Several evaluated runs side by side on one page."
    parser.epilog = """\
A run is named by its MLflow id, its fingerprint (the beginning of either is enough, if no other
run begins so), its name in MLflow, or its name in `dvc exp show`.

examples:
  vaebalance compare tidal-newt brown-owl
  vaebalance compare 3f2a be76f22f --out artifacts/low-and-high-beta
  vaebalance compare --list
"""
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"two to {MOST_RUNS} runs")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the page's folder ({OUT})")
    parser.add_argument("--list", action="store_true", help="show the runs that there are")


def read(arguments: Namespace, parser: Parser) -> Options:
    """Check the arguments and return the options."""
    runs = tuple(arguments.runs)
    if arguments.list and runs:
        parser.error("--list takes no run")
    if not arguments.list and not 2 <= len(runs) <= MOST_RUNS:
        parser.error(f"give two to {MOST_RUNS} runs, not {len(runs)}; --list shows them")
    return Options(runs, arguments.out, arguments.list)


def run(options: Options) -> None:
    """Compare the named runs."""
    from vaebalance.pages.comparison.compare import run as compare

    compare(options)
