"""A study in a journal file, which the processes that see its folder share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from vaebalance.base.errors import UserError
from vaebalance.study.storage.heartbeat import is_present, presence
from vaebalance.study.storage.storage import Result

FILE = "study.journal"
LOCKS = "locks"


class FileStorage:
    """See `storage.Storage`."""

    def __init__(self, folder: Path) -> None:
        """Open the file in the study's folder, or make an empty one.

        Raises:
            UserError: the file is damaged.
        """
        self._folder = folder
        self._locks: dict[str, FileLock] = {}
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        path, writing = folder / FILE, FlockedJournal(folder / LOCKS / "journal")
        _drop_half_a_line(path, writing)
        try:
            self.optuna: BaseStorage = JournalStorage(
                JournalFileBackend(str(path), lock_obj=writing)
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

    def presence(self) -> AbstractContextManager[str]:
        """See `Storage`."""
        return presence(self._folder / LOCKS)

    def claimed(self, trial_id: int) -> None:
        """See `Storage`; the worker's presence says enough."""

    @contextmanager
    def attending(self, trial_id: int, worker: str) -> Iterator[None]:
        """See `Storage`; the worker's presence says enough."""
        yield

    def abandoned(self, running: Mapping[int, str]) -> set[int]:
        """See `Storage`."""
        return {
            trial_id
            for trial_id, worker in running.items()
            if not is_present(self._folder / LOCKS, worker)
        }

    def patiently(self, act: Callable[[], Result]) -> Result:
        """See `Storage`; a file has no connection to lose."""
        return act()


class FlockedJournal(BaseJournalFileLock):
    """Who may write to the journal file.

    The system frees this lock when its holder is killed; Optuna's own stays for half a minute.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, poll_interval=0.005)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Let the next one write."""
        self._lock.release()


def _drop_half_a_line(path: Path, writing: FlockedJournal) -> None:
    """Undo a write that a crash of the machine cut short, lest the next line be glued to it."""
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
