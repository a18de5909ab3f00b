"""Keep a study in a journal file that the processes which see its folder share.

Each process holds a file locked for as long as it lives. The system frees the lock however the
process ends, and the lock works across containers and machines that share the folder, where process
ids mean nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from vaebalance.base.errors import UserError
from vaebalance.study.storage.storage import Result, worker_name

FILE = "study.journal"
LOCKS = "locks"


class FileStorage:
    """Implement `storage.Storage` on a journal file."""

    def __init__(self, folder: Path) -> None:
        """Open the file in the study's folder, or create an empty one.

        Raises:
            UserError: the file is damaged.
        """
        self._folder = folder
        self._locks: dict[str, FileLock] = {}
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        path, self.writing = folder / FILE, FlockedJournal(folder / LOCKS / "journal")
        _drop_partial_line(path, self.writing)
        try:
            self.optuna: BaseStorage = JournalStorage(
                JournalFileBackend(str(path), lock_obj=self.writing)
            )
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{path}: not a readable Optuna journal ({error}); move it away, or name another "
                "study in tune.study."
            ) from error

    def names(self) -> list[str]:
        """See `Storage`."""
        return sorted(study.study_name for study in self.optuna.get_all_studies())

    def lock(self, name: str) -> FileLock:
        """See `Storage`."""
        if name not in self._locks:
            self._locks[name] = FileLock(self._folder / LOCKS / name, poll_interval=0.01)
        return self._locks[name]

    def heartbeat(self) -> AbstractContextManager[str]:
        """See `Storage`."""
        return heartbeat(self._folder / LOCKS)

    def acquired(self, trial_id: int) -> None:
        """See `Storage`; the worker's own heartbeat suffices."""

    @contextmanager
    def lease(self, trial_id: int, worker: str) -> Iterator[None]:
        """See `Storage`; the worker's own heartbeat suffices."""
        yield

    def stale(self, running: Mapping[int, str]) -> set[int]:
        """See `Storage`."""
        locks = self._folder / LOCKS
        return {trial_id for trial_id, worker in running.items() if not is_alive(locks, worker)}

    def with_retries(self, act: Callable[[], Result]) -> Result:
        """See `Storage`; a file has no connection to lose."""
        return act()


class FlockedJournal(JournalFileOpenLock):
    """Lock the journal file for writing.

    The system frees this lock when its holder is killed; Optuna's own locks stay for half a minute.
    It replaces all of its base class, which is the public name that the backend accepts.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, poll_interval=0.005)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def _drop_partial_line(path: Path, writing: FlockedJournal) -> None:
    """Undo a write that a crash of the machine cut short, lest the next line be joined to it."""
    if not path.exists():
        return
    writing.acquire()
    try:
        with path.open("r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            if whole < file.tell():
                file.truncate(whole)
                os.fsync(file.fileno())
    finally:
        writing.release()


@contextmanager
def heartbeat(folder: Path) -> Iterator[str]:
    """Yield a name for which `is_alive` is true until the block or the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    name = worker_name()
    with FileLock(folder / name):
        try:
            yield name
        finally:
            (folder / name).unlink()


def is_alive(folder: Path, name: str) -> bool:
    """Return whether the process that `heartbeat` named `name` still runs."""
    path = folder / name
    if not path.is_file():
        return False
    try:
        with FileLock(path, blocking=False):
            path.unlink()
    except Timeout:
        return True
    return False
