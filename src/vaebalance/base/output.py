"""Standard streams that never fail to print."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TextIO

STDERR = 2  # file descriptor


def open_output() -> None:
    """Replace the standard streams by ones that never fail to print.

    They escape a character that their encoding lacks, such as α in ISO 8859-1, and drop what is
    printed to a pipe that nobody reads, to a full disk or to a closed stream.
    """
    sys.stdout = _tolerant(sys.stdout, sys.__stdout__)
    sys.stderr = _tolerant(sys.stderr, sys.__stderr__)


def _tolerant(stream: TextIO | None, original: TextIO | None) -> TextIO:
    """`stream`, or one in its place; one that somebody has redirected within Python is kept."""
    if stream is None:  # it was closed before Python started
        return Path(os.devnull).open("w", encoding="utf-8")
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream  # the console of Windows
    stream.flush()
    return _Output(
        io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Output(io.TextIOWrapper):
    """A standard stream that drops what cannot be written, from the first failure on."""

    def write(self, text: str, /) -> int:
        """Write `text`, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it; Python calls it when it ends, too."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Write to nowhere from now on, and say so once, but where a pipe's reader is gone."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError) and self.fileno() != STDERR:
            print(f"note: the output is lost: {error.strerror}", file=sys.stderr)
