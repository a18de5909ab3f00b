"""What a study asks of the place where it lies: `file_storage` or `database_storage`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from optuna.storages import BaseStorage

WORKER = "worker"
"""The attribute of a trial that names who runs it, or ran it last."""

Result = TypeVar("Result")


class Storage(Protocol):
    """Keeps studies, and knows which of their trials are still being run."""

    @property
    def optuna(self) -> BaseStorage:
        """What Optuna reads and writes."""

    def names(self) -> list[str]:
        """The studies that are there."""

    def lock(self, name: str) -> AbstractContextManager[Any]:
        """A lock of the study, which is freed however its holder ends."""

    def presence(self) -> AbstractContextManager[str]:
        """A name for this process as a worker."""

    def claimed(self, trial_id: int) -> None:
        """A trial was given to a worker, under the lock."""

    def attending(self, trial_id: int, worker: str) -> AbstractContextManager[None]:
        """Within, `worker` runs the trial; leaving by an exception, it abandons it."""

    def abandoned(self, running: Mapping[int, str]) -> set[int]:
        """Those of the running trials (id -> worker) that nobody runs any more."""

    def patiently(self, act: Callable[[], Result]) -> Result:
        """The result of `act`, which is begun again where the connection was lost meanwhile."""
