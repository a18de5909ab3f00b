"""`vaebalance curve`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from vaebalance.cli.parser import Parser, finite
from vaebalance.curve.options import BEST, KNEE, Choice, Options, Quantity

SUMMARY = "train all β at once, or take a weight or a model from the curve that is there"
BOUNDS = {"rate": "at most", "distortion": "at most", "rmse": "at most", "psnr": "at least"}


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = """\
The whole trade-off of distortion and rate from one training, as section `curve` of params.yaml
says. With an option, answer from the curve that is there."""
    instead = parser.add_mutually_exclusive_group()
    for quantity in get_args(Quantity):
        instead.add_argument(
            f"--target-{quantity}",
            type=finite,
            metavar="X",
            help=f"the β whose {quantity} is {BOUNDS[quantity]} X on validation images, with the "
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


def read(arguments: argparse.Namespace, parser: Parser) -> Options:
    """Check the arguments and return the options."""
    targets: list[tuple[Quantity, float]] = [
        (quantity, value)
        for quantity in get_args(Quantity)
        if (value := getattr(arguments, f"target_{quantity}")) is not None
    ]
    distill = None
    if arguments.distill is not None:
        try:
            distill = (_choice(arguments.distill[0]), Path(arguments.distill[1]))
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --distill: {error}")
    return Options(targets[0] if targets else None, arguments.promote, distill)


def run(options: Options) -> None:
    """Train the curve, or choose a weight or a model from it."""
    from vaebalance.curve.curve_command import run as answer

    answer(options)
    if options == Options():
        from vaebalance.pages.slider.curve_page import draw_prepared

        print(f"{draw_prepared()} has the curve under a slider.")


def _choice(text: str) -> Choice:
    if text == KNEE:
        return KNEE
    if text == BEST:
        return BEST
    try:
        value = finite(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither `knee`, `best`, nor a β") from error
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: β must be above 0")
    return value
