"""An argument parser whose complaints are one line, and the kinds of numbers that it reads."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """As argparse's, but a wrong argument is answered by one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2 after `message` and where to look."""
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def finite(text: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value


def positive(what: str) -> Callable[[str], float]:
    """Make a reader of a finite number above 0, called `what` in complaints."""

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
    """Make a reader of a whole number from 1 up, called a number of `what` in complaints."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of {what}: give an integer of 1 or more"
            )
        return int(text)

    return read
