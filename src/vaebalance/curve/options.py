"""The arguments of pipelines/curve.py."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

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


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; a wrong one exits with 2, `--help` with 0."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/curve.py",
        description="The whole trade-off of distortion and rate from one training, as section "
        "`curve` of params.yaml says. With an option, answer from the curve that is there.",
    )
    instead = parser.add_mutually_exclusive_group()
    bounds = {"rate": "at most", "distortion": "at most", "rmse": "at most", "psnr": "at least"}
    for quantity in get_args(Quantity):
        instead.add_argument(
            f"--target-{quantity}",
            type=_number,
            metavar="X",
            help=f"the β whose {quantity} is {bounds[quantity]} X on validation images, with the "
            f"least {'distortion' if quantity == 'rate' else 'rate'}",
        )
    instead.add_argument(
        "--promote",
        type=_choice,
        metavar="knee|best|BETA",
        help="write α = 1 and this β into params.yaml, for a plain training",
    )
    instead.add_argument(
        "--distill",
        nargs=2,
        metavar=("knee|best|BETA", "FOLDER"),
        help="write the model at this β as an ordinary one into FOLDER; no training",
    )
    found = parser.parse_args(arguments)
    targets: list[tuple[Quantity, float]] = [
        (quantity, value)
        for quantity in get_args(Quantity)
        if (value := getattr(found, f"target_{quantity}")) is not None
    ]
    distill = None
    if found.distill is not None:
        try:
            distill = (_choice(found.distill[0]), Path(found.distill[1]))
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --distill: {error}")
    return Options(targets[0] if targets else None, found.promote, distill)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value


def _choice(text: str) -> Choice:
    if text == KNEE:
        return KNEE
    if text == BEST:
        return BEST
    try:
        value = _number(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither `knee`, `best`, nor a β") from error
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: β must be above 0")
    return value
