"""`vaebalance port`."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

from vaebalance.cli.parser import Parser, count, positive
from vaebalance.porting.options import Options, Shape

SUMMARY = "translate a weight of another project, or params.yaml into other conventions"
MOST_CHANNELS = 4  # channels of a picture; a larger first number means that channels come last


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = "Convert a loss weight of another project to our likelihood and balance."
    parser.epilog = """\
Without a convention, show params.yaml in every convention.

examples:
  vaebalance port antixk 0.00025 --shape 3x64x64
  vaebalance port bolts 0.1 --shape 3x32x32 --latents 256 --write
  vaebalance port mse-mean-kl-sum 1 --shape 3x256x256 --batch 4
  vaebalance port --rmse 0.08
  vaebalance port --list
"""
    add = parser.add_argument
    add("convention", nargs="?", help="name of the convention, see --list")
    add("weight", nargs="?", type=positive("a weight"), help="its β, α, σ, kld_weight, …")
    add("--shape", type=_shape, metavar="CxHxW", help="shape of an image, such as 3x64x64")
    add("--latents", type=count("latents"), metavar="Z", help="number of latents")
    add("--batch", type=count("images"), metavar="B", help="batch size of the other project")
    rmse = "RMSE of the reconstructions, in pixel values of the unit range"
    add("--rmse", type=positive("an RMSE"), help=rmse)
    span = "white minus black in its pixels: 1 for 0…1, 2 for −1…1 (default: of its loader)"
    add("--pixel-span", type=positive("a span"), metavar="S", help=span)
    add("--write", action="store_true", help="write likelihood and balance into params.yaml")
    add("--json", action="store_true", help="print JSON")
    add("--list", action="store_true", help="list the conventions")


def read(arguments: argparse.Namespace, parser: Parser) -> Options:
    """Check the arguments and return the options."""
    convention = arguments.convention
    if convention is not None and arguments.weight is None:
        parser.error(f"{convention}: the weight is missing; give it, as in: {convention} 1.0")
    if arguments.write and convention is None:
        parser.error("--write needs a convention and its weight")
    if arguments.list and convention is not None:
        parser.error("--list takes no convention")
    return Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)})


def run(options: Options) -> None:
    """Translate a weight, or params.yaml into every convention."""
    from vaebalance.porting.port import run as port

    port(options)


def _shape(text: str) -> Shape:
    match = re.fullmatch(r"(\d+)[x×,](\d+)[x×,](\d+)", text.strip().lower())
    numbers = [int(part) for part in match.groups()] if match else []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a shape such as 3x64x64 (channels x height x width)"
        )
    first, second, last = numbers
    if first > MOST_CHANNELS >= last:
        raise argparse.ArgumentTypeError(
            f"{text!r} has its channels last; did you mean {last}x{first}x{second}?"
        )
    return first, second, last
