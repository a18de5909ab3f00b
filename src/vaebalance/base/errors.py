"""Errors that a user can mend, and how a command runs: its output, signals and exit status."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from vaebalance.base.garbage import keep_all
from vaebalance.base.memory import keep_freed

GRACE_SECONDS = 10.0
"""For which a signal that repeats the first is ignored: a closing terminal sends SIGHUP twice, and
the second must not disturb the clean-up."""

STDERR = 2  # file descriptor


class UserError(Exception):
    """Bad input. The message names the file or key, the value, what is allowed and the remedy."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: whatever handles Ctrl-C handles it, too."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def run_stage(main: Callable[[], None]) -> None:
    """Run a pipeline script's `main`; a `UserError` is printed and exits with 2.

    Every other exception is ours and keeps its traceback. SIGTERM and SIGHUP end it as Ctrl-C does,
    with 128 + the signal's number. Output that nobody can take or read does not end it: see
    `open_output`. What is left at the end is not freed object by object, and memory that is freed
    before is kept: see `garbage`, `memory`.
    """
    keep_all()  # what is imported
    keep_freed()
    open_output()
    with terminable():
        try:
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except Terminated as error:
            print(f"ended by {error}", file=sys.stderr)
            sys.exit(error.status)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        finally:
            keep_all()


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the block when SIGTERM or SIGHUP arrives.

    A signal that the parent has the process ignore, as `nohup` does, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread alone
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [signal.Signals[name] for name in names]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    raised_at: list[float] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not raised_at or now - raised_at[-1] > GRACE_SECONDS:
            raised_at.append(now)
            raise Terminated(number)

    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


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
