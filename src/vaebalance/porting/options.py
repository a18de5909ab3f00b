"""The arguments of pipelines/port.py."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Shape = tuple[int, int, int]  # channels, height, width
MOST_CHANNELS = 4  # more is taken for a shape with its channels last

EPILOG = """\
Without a convention, show params.yaml in every convention.

examples:
  python pipelines/port.py antixk 0.00025 --shape 3x64x64
  python pipelines/port.py bolts 0.1 --shape 3x32x32 --latents 256 --write
  python pipelines/port.py mse-mean-kl-sum 1 --shape 3x256x256 --batch 4
  python pipelines/port.py --rmse 0.08
  python pipelines/port.py --list
"""


@dataclass(frozen=True)
class Options:
    """Command-line arguments; without a convention, show params.yaml in all of them."""

    convention: str | None
    weight: float | None
    shape: Shape | None
    latents: int | None
    batch: int | None
    rmse: float | None
    pixel_span: float | None
    write: bool
    json: bool
    list: bool


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exit with 2 on a wrong one and with 0 after `--help`."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/port.py",
        description="Convert a loss weight of another project to our likelihood and balance.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("convention", nargs="?", help="name of the convention, see --list")
    add("weight", nargs="?", type=_positive("a weight"), help="its β, α, σ, kld_weight, …")
    add("--shape", type=_shape, metavar="CxHxW", help="shape of an image, such as 3x64x64")
    add("--latents", type=_count("latents"), metavar="Z", help="number of latents")
    add("--batch", type=_count("images"), metavar="B", help="batch size of the other project")
    rmse = "RMSE of the reconstructions, in pixel values of the unit range"
    add("--rmse", type=_positive("an RMSE"), help=rmse)
    span = "white minus black in its pixels: 1 for 0…1, 2 for −1…1 (default: of its loader)"
    add("--pixel-span", type=_positive("a span"), metavar="S", help=span)
    add("--write", action="store_true", help="write likelihood and balance into params.yaml")
    add("--json", action="store_true", help="print JSON")
    add("--list", action="store_true", help="list the conventions")
    found = parser.parse_args(arguments)
    if found.convention is not None and found.weight is None:
        parser.error(
            f"{found.convention}: the weight is missing; give it, as in: {found.convention} 1.0"
        )
    if found.write and found.convention is None:
        parser.error("--write needs a convention and its weight")
    if found.list and found.convention is not None:
        parser.error("--list takes no convention")
    return Options(**vars(found))


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


def _positive(what: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}: give a number above 0")
        return number

    return read


def _count(what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of {what}: give an integer of 1 or more"
            )
        return int(text)

    return read
