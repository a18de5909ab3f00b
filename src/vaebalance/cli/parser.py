"""An argument parser with one-line errors, and its types of numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's parser, but an error is one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` with a reference to the help, and exit with 2."""
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def finite(text: str) -> float:
    """Parse a finite number."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value


def positive(what: str) -> Callable[[str], float]:
    """Return a parser of a finite number above 0, called `what` in errors."""

    def read(text: str) -> float:
        try:
            value = finite(text)
        except argparse.ArgumentTypeError:
            value = 0.0
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}: give a number above 0")
        return value

    return read


def count(what: str) -> Callable[[str], int]:
    """Return a parser of an integer of at least 1, called a number of `what` in errors."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of {what}: give an integer of 1 or more"
            )
        return int(text)

    return read
