"""How a command runs: its exit status, its signals, and how it keeps memory.

Python looks for garbage neither while modules are imported nor when a command ends. Modules stay:
looking through all of them for cycles, as Python does again and again while more are loaded, takes
a third of MLflow's import; freeing them one by one at the end takes 0.5 s with torch, and 1.3 s
with MLflow and Altair beside it.

Memory that a training step has freed is kept for the next one. A step allocates tensors of
megabytes and frees them. By default glibc returns such memory to the system and asks for it again
page by page, each cleared: a quarter of the time of a step of convolutions.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from vaebalance.base.errors import UserError
from vaebalance.base.output import open_output

GRACE_SECONDS = 10.0
"""How long a repeated signal is ignored: a closing terminal sends SIGHUP twice, and the second must
not disturb the clean-up."""

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD: see mallopt(3)."""

LARGEST = 2**30
"""Largest allocation that is kept, in bytes; a larger one is a table, not a part of a step."""

OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which code that handles Ctrl-C handles as well."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def run_stage(main: Callable[[], None]) -> None:
    """Run a pipeline script's `main`; a `UserError` is printed and exits with 2.

    Every other exception is a fault of the project and keeps its traceback. SIGTERM and SIGHUP end
    the command as Ctrl-C does, with 128 + the signal's number. Output that cannot be written does
    not end it: see `output`.
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


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage until the block is left."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def keep_all() -> None:
    """Never look at the objects that there are now: neither for garbage nor at the end.

    Where triton is imported, by torchvision or a compilation, all are looked at as ever: it tells
    at length of what is left of it at the end.
    """
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


def keep_freed() -> bool:
    """Keep in this process what is freed from now on; whether it is so.

    Not where a user's own setting stands, nor where malloc is another one than glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name in os.environ for name in OWN):
        return False
    # Either one alone keeps glibc from raising the other, and makes it worse.
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
