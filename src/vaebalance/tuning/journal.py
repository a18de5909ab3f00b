"""A study on disk: an Optuna study in a journal file, as plain `Trial`s.

Whoever adds a trial, or takes over one from a process that is gone, holds `Journal.lock` meanwhile.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from vaebalance.errors import UserError
from vaebalance.evaluation.vocabulary import Better
from vaebalance.tuning.space import Choices, Dimension, Point, Space

FILE = "study.journal"
LOCKS = "locks"
ARTIFACTS = "artifacts"

SUBJECT = "subject"
WORKER = "worker"
REASON = "reason"
VIOLATION = "violation"
CONSTRAINT = f"constraints:{VIOLATION}"  # where Optuna's samplers and dashboard look for it

DIRECTIONS = {"lower": StudyDirection.MINIMIZE, "higher": StudyDirection.MAXIMIZE}


@dataclass(frozen=True)
class Trial:
    """One point of the space, and what came of it."""

    number: int  # from 0
    point: Point
    state: Literal["running", "finished", "diverged"]
    values: tuple[float, ...] | None  # one for each goal, once finished
    violation: float | None  # ≤ 0 where the objective's target is met; None: it has none
    results: Mapping[str, Any]  # distortion, rate, … once finished; a reason once diverged
    worker: str  # who runs it, or ran it last


class Journal:
    """The study in `folder`, whose name is the folder's."""

    def __init__(self, folder: Path, goals: Sequence[Better] = ("lower",)) -> None:
        """Open the study, or start an empty one.

        Args:
            folder: of the study.
            goals: the better end of each number of a new study; one that has notes keeps its own.

        Raises:
            UserError: the file is damaged.
        """
        self.folder = folder
        self.name = folder.name
        self.locks = folder / LOCKS
        self.locks.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.locks / "claim", poll_interval=0.01)
        path, writing = folder / FILE, FlockedJournal(self.locks / "journal")
        _drop_half_a_line(path, writing)
        try:
            self._storage = JournalStorage(JournalFileBackend(str(path), lock_obj=writing))
            self._study = self._open_study([DIRECTIONS[better] for better in goals])
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{path}: not a readable Optuna journal ({error}); move it away, or name another "
                "study in tune.study."
            ) from error

    def _open_study(self, directions: list[StudyDirection]) -> optuna.Study:
        with self.lock:
            if self.name in optuna.get_all_study_names(self._storage):
                study = optuna.load_study(study_name=self.name, storage=self._storage)
                if study.user_attrs or study.directions == directions:
                    return study
                # Its maker was killed before the first note, and params.yaml changed since.
                optuna.delete_study(study_name=self.name, storage=self._storage)
            return optuna.create_study(
                storage=self._storage, study_name=self.name, directions=directions
            )

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted about the study."""
        return self._study.user_attrs

    def note(self, key: str, value: Any) -> None:
        """Note plain data about the study."""
        self._study.set_user_attr(key, value)

    def name_goals(self, names: Sequence[str]) -> None:
        """Name the numbers of a trial, as Optuna's own pages show them."""
        if self._study.metric_names != list(names):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._study.set_metric_names(list(names))

    def trials(self) -> list[Trial]:
        """All trials by number, without any that another program put into the file."""
        found = self._study.get_trials(deepcopy=False)
        return [_plain(trial) for trial in found if WORKER in trial.user_attrs]

    def add(self, space: Space, point: Point, worker: str) -> Trial:
        """A new trial, run by `worker`; a single record, so no kill leaves one without an owner."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(point),
                distributions=distributions(space),
                user_attrs={WORKER: worker},
            )
        )
        return self.trials()[-1]

    def take_over(self, trial: Trial, worker: str) -> None:
        """A running trial is run by `worker` from now on."""
        self._set(trial.number, {WORKER: worker})

    def attach(self, trial: Trial, name: str, content: bytes) -> None:
        """Keep a file with a running trial, as Optuna's artifact; Optuna's pages show it.

        A trial that runs again writes it again: Optuna notes an artifact before it writes it, and
        a kill may have come between.
        """
        (self.folder / ARTIFACTS).mkdir(exist_ok=True)
        kept = FileSystemArtifactStore(self.folder / ARTIFACTS)
        found = self._study.get_trials(deepcopy=False)[trial.number]
        for known in get_all_artifact_meta(found, storage=self._storage):
            if known.filename == name:
                kept.write(known.artifact_id, io.BytesIO(content))
                return
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / name
            path.write_bytes(content)
            upload_artifact(
                artifact_store=kept,
                file_path=str(path),
                study_or_trial=found,
                storage=self._storage,
            )

    def finish(
        self,
        trial: Trial,
        values: Sequence[float],
        results: Mapping[str, Any],
        violation: float | None = None,
    ) -> None:
        """The trial has come to its end."""
        self._set(trial.number, results)
        if violation is not None:
            self._storage.set_trial_system_attr(self._id(trial.number), CONSTRAINT, violation)
        self._study.tell(trial.number, list(values))

    def diverge(self, trial: Trial, reason: str) -> None:
        """The trial has no value, and another attempt would have none."""
        self._set(trial.number, {REASON: reason})
        self._study.tell(trial.number, state=TrialState.FAIL)

    def _set(self, number: int, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(self._id(number), key, value)

    def _id(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The search space as Optuna has it."""
    return {dimension.knob: _distribution(dimension) for dimension in space.dimensions}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


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


def _plain(trial: FrozenTrial) -> Trial:
    states: dict[TrialState, Literal["running", "finished", "diverged"]] = {
        TrialState.RUNNING: "running",
        TrialState.COMPLETE: "finished",
        TrialState.FAIL: "diverged",
    }
    results = {key: value for key, value in trial.user_attrs.items() if key != WORKER}
    return Trial(
        trial.number,
        dict(trial.params),
        states[trial.state],
        None if trial.values is None else tuple(trial.values),
        trial.constraints.get(VIOLATION),
        results,
        trial.user_attrs[WORKER],
    )
