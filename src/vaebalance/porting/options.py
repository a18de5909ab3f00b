"""The arguments of pipelines/port.py."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Shape = tuple[int, int, int]  # channels, height, width
MOST_CHANNELS = 4  # of a picture; more is a shape with its channels last

EPILOG = """\
Without a convention: params.yaml in every convention.

examples:
  python pipelines/port.py antixk 0.00025 --shape 3x64x64
  python pipelines/port.py bolts 0.1 --shape 3x32x32 --latents 256 --write
  python pipelines/port.py mse-mean-kl-sum 1 --shape 3x256x256 --batch 4
  python pipelines/port.py --rmse 0.08
  python pipelines/port.py --list
"""


@dataclass(frozen=True)
class Options:
    """What was asked for; no convention: params.yaml in all of them."""

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
    """Read the command line; a wrong one exits with 2, `--help` with 0."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/port.py",
        description="Your weight in another project's convention -> our likelihood and balance.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("convention", nargs="?", help="whose weight it is, as --list names it")
    add("weight", nargs="?", type=_positive("a weight"), help="their β, α, σ, kld_weight, …")
    add("--shape", type=_shape, metavar="CxHxW", help="of an image, as in 3x64x64")
    add("--latents", type=_count("latents"), metavar="Z", help="number of latents")
    add("--batch", type=_count("images"), metavar="B", help="images in a batch of theirs")
    rmse = "of reconstructions, in pixel values of the unit range"
    add("--rmse", type=_positive("an RMSE"), help=rmse)
    span = "white minus black in their pixels: 1 for 0…1, 2 for −1…1 (default: as they load them)"
    add("--pixel-span", type=_positive("a span"), metavar="S", help=span)
    add("--write", action="store_true", help="write likelihood and balance into params.yaml")
    add("--json", action="store_true", help="print JSON")
    add("--list", action="store_true", help="show the conventions")
    found = parser.parse_args(arguments)
    if found.convention is not None and found.weight is None:
        parser.error(f"{found.convention}: give its weight, too, as in: {found.convention} 1.0")
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
            f"{text!r} is not like 3x64x64 (channels x height x width)"
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
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}: a number above 0")
        return number

    return read


def _count(what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}: 1 or more")
        return int(text)

    return read
