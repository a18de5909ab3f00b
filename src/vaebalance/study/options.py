"""Read the arguments of pipelines/tune.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BEST: Literal["best"] = "best"
KNEE: Literal["knee"] = "knee"
Choice = int | Literal["best", "knee"]
"""A trial: its number, the best one by the objective's rule, or the knee of a frontier."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for; neither: run the study."""

    list: bool
    promote: Choice | None


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exit with 2 where it is wrong, with 0 after `--help`."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/tune.py",
        description="Search the knobs that section `tune` of params.yaml names. The same command "
        "continues the study, also after Ctrl-C or a kill; started twice, both share the work. "
        "With tune.method: curve, one training of a curve answers instead.",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="show the study's trials, run none")
    instead.add_argument(
        "--promote",
        type=_choice,
        metavar="best|knee|N",
        help="write the values of the best trial, of the frontier's knee, or of trial N, into "
        "params.yaml; run none. (A curve has no trials, but best and knee.)",
    )
    found = parser.parse_args(arguments)
    return Options(list=found.list, promote=found.promote)


def _choice(text: str) -> Choice:
    if text == BEST:
        return BEST
    if text == KNEE:
        return KNEE
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither `best`, `knee`, nor a trial's number")
