"""Standard output for tables and paragraphs."""

from __future__ import annotations

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns of tables in a file or a pipe."""


def make_console() -> Console:
    """Return a console on standard output, wide enough for the tables if it is not a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def say(console: Console, text: str) -> None:
    """Print a paragraph without wrapping."""
    console.print(text, soft_wrap=True)
