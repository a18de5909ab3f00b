"""Processes that start at once: forks of a clean one that has imported torch and Optuna.

Tests that kill processes would otherwise wait seconds for the imports of each.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

PRELOADED = ["vaebalance.study.search.search", "vaebalance.study.storage.postgres_storage"]


class Forked:
    """A process that calls `target` with plain arguments, with the interface of `Popen`."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_printing, args=(theirs, target, arguments), daemon=True
        )
        self._process.start()
        theirs.close()
        self.stdout = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
        ours.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = 60) -> int | None:
        self._process.join(timeout)
        return self.returncode

    def read(self, timeout: float = 60) -> str:
        """Wait for the end and return the remaining output."""
        text = self.stdout.read()
        self.wait(timeout)
        return text


def _printing(pipe: Connection, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """Call `target` with its output redirected to the pipe."""
    os.dup2(pipe.fileno(), 1)
    target(*arguments)
