"""Define what a study needs from its storage: see `file_storage` and `postgres_storage`."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from optuna.storages import BaseStorage

WORKER = "worker"
"""The attribute of a trial that names the worker that runs it, or ran it last."""

Result = TypeVar("Result")


class Storage(Protocol):
    """Keeps studies and knows which of their trials are still running."""

    @property
    def optuna(self) -> BaseStorage:
        """The storage that Optuna reads and writes."""

    def names(self) -> list[str]:
        """Return the names of the studies in this storage."""

    def lock(self, name: str) -> AbstractContextManager[Any]:
        """Return a lock of the study that is freed however its holder ends."""

    def heartbeat(self) -> AbstractContextManager[str]:
        """Give this process a worker name, and tell the others that it is alive."""

    def acquired(self, trial_id: int) -> None:
        """Record, under the lock, that a worker has just acquired the trial."""

    def lease(self, trial_id: int, worker: str) -> AbstractContextManager[None]:
        """Keep the trial for `worker`; an exception that leaves the block gives it up."""

    def stale(self, running: Mapping[int, str]) -> set[int]:
        """Return those of the running trials (id -> worker) whose worker is gone."""

    def with_retries(self, act: Callable[[], Result]) -> Result:
        """Return the result of `act`, starting it again after a lost connection."""


def worker_name() -> str:
    """Return a unique name for this process."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
