"""Functions of worker processes in tests; in a module, because the processes import it."""

import os
import signal
import time
from pathlib import Path

import torch

from vaebalance.base.errors import UserError
from vaebalance.study.search.workers import Reporter
from vaebalance.study.trials import Trial


def speak_and_count_threads(folder: Path, reporter: Reporter) -> None:
    (folder / str(os.getpid())).write_text(str(torch.get_num_threads()))
    reporter.started(Trial(3, {}, "running", None, None, {}, "me"))
    reporter.ended([], 3)


def refuse(folder: Path, reporter: Reporter) -> None:
    """Wait in the first process, and refuse in the second."""
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        while not (folder / "ready").exists():
            time.sleep(0.01)
        raise UserError("the toy is broken") from None
    try:
        (folder / "ready").touch()
        for _ in range(600):
            reporter.waiting([])
            time.sleep(0.05)
    except KeyboardInterrupt:
        (folder / "interrupted").touch()
        raise


def fail(folder: Path, reporter: Reporter) -> None:
    raise ZeroDivisionError


def die(folder: Path, reporter: Reporter) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
