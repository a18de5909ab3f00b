"""Keep a study's notes and trials in an Optuna study, and read them as plain `Trial`s.

Only `search.Search` writes trials. It holds `Journal.lock` while it adds a trial or takes one over
from a process that is gone.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from vaebalance.base.errors import UserError
from vaebalance.evaluation.metrics import Better
from vaebalance.study.search.pruning import Reading
from vaebalance.study.space import Choices, Dimension, Point, Space
from vaebalance.study.storage.file_storage import FileStorage
from vaebalance.study.storage.storage import WORKER, Result, Storage
from vaebalance.study.trials import Outcome, State, Trial

ARTIFACTS = "artifacts"
REASON = "reason"
RUNG = "rung "  # then the epoch: the objective's reading there
VIOLATION = "violation"
CONSTRAINT = f"constraints:{VIOLATION}"  # the key that `FrozenTrial.constraints` reads

DIRECTIONS = {"lower": StudyDirection.MINIMIZE, "higher": StudyDirection.MAXIMIZE}


class Journal:
    """The records of the study in `folder`, which gives the study its name."""

    def __init__(
        self, folder: Path, goals: Sequence[Better] = ("lower",), storage: Storage | None = None
    ) -> None:
        """Open the study, or create an empty one.

        Args:
            folder: folder of the study's files.
            goals: better end of each number of a new study; a study with notes keeps its own.
            storage: storage that keeps the study; None: a file in `folder`.

        Raises:
            UserError: the file is damaged, or another program made the study.
        """
        self.folder = folder
        self.name = folder.name
        folder.mkdir(parents=True, exist_ok=True)
        self._storage = storage or FileStorage(folder)
        self._optuna = self._storage.optuna
        directions = [DIRECTIONS[better] for better in goals]
        self._study = self.with_retries(lambda: self._open_study(directions))

    def _open_study(self, directions: list[StudyDirection]) -> optuna.Study:
        with self.lock:
            if self.name in self._storage.names():
                study = optuna.load_study(study_name=self.name, storage=self._optuna)
                if study.user_attrs or study.directions == directions:
                    return study
                if study.get_trials(deepcopy=False):
                    raise UserError(
                        f"the study {self.name!r} was made by another program; name another in "
                        "tune.study."
                    )
                # Its creator was killed before the first note, and params.yaml changed since.
                optuna.delete_study(study_name=self.name, storage=self._optuna)
            return optuna.create_study(
                storage=self._optuna, study_name=self.name, directions=directions
            )

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock to hold while a trial is added or taken over."""
        return self._storage.lock("claim")

    @property
    def publishing(self) -> AbstractContextManager[Any]:
        """The lock to hold while the study's tables and figures are written."""
        return self._storage.lock("publish")

    def heartbeat(self) -> AbstractContextManager[str]:
        """Give this process a worker name, and tell the others that it is alive."""
        return self._storage.heartbeat()

    def with_retries(self, act: Callable[[], Result]) -> Result:
        """Return the result of `act`, starting it again after a lost connection.

        Raises:
            UserError: the connection stays lost.
        """
        return self._storage.with_retries(act)

    @property
    def notes(self) -> dict[str, Any]:
        """The notes about the study, by key."""
        return self.with_retries(lambda: self._study.user_attrs)

    def note(self, key: str, value: Any) -> None:
        """Keep plain data about the study."""
        self.with_retries(lambda: self._study.set_user_attr(key, value))

    def name_goals(self, names: Sequence[str]) -> None:
        """Name the numbers of a trial for Optuna's own pages."""

        def name() -> None:
            with self.lock, warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                if self._study.metric_names != list(names):
                    self._study.set_metric_names(list(names))

        self.with_retries(name)

    def trials(self) -> list[Trial]:
        """Return all trials by number, without any that another program added."""
        trials = self.with_retries(lambda: self._study.get_trials(deepcopy=False))
        return [_plain(trial) for trial in trials if WORKER in trial.user_attrs]

    def stale(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the running ones of `trials` whose worker is gone."""
        running = {self._id(trial.number): trial for trial in trials if trial.state == "running"}
        stale = self._storage.stale({key: trial.worker for key, trial in running.items()})
        return [trial for key, trial in running.items() if key in stale]

    def lease(self, trial: Trial) -> AbstractContextManager[None]:
        """Keep the trial for its worker; an exception that leaves the block gives it up."""
        return self._storage.lease(self._id(trial.number), trial.worker)

    def add(self, space: Space, point: Point, worker: str) -> Trial:
        """Add a trial that `worker` runs.

        It is a single record, so that no kill leaves a trial without a worker.
        """
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(point),
                distributions=distributions(space),
                user_attrs={WORKER: worker},
            )
        )
        added = self.trials()[-1]
        self._storage.acquired(self._id(added.number))
        return added

    def take_over(self, trial: Trial, worker: str) -> Trial:
        """Give a running trial to `worker`."""
        self._set(trial.number, {WORKER: worker})
        self._storage.acquired(self._id(trial.number))
        return replace(trial, worker=worker)

    def attach(self, trial: Trial, name: str, content: bytes) -> None:
        """Keep a file with a running trial as an Optuna artifact, which Optuna's pages show.

        A trial that runs again writes it again: Optuna records an artifact before it writes it,
        and a kill may come between. See `_as_owner`.
        """
        (self.folder / ARTIFACTS).mkdir(exist_ok=True)
        kept = FileSystemArtifactStore(self.folder / ARTIFACTS)

        def keep() -> None:
            optuna_trial = self._study.get_trials(deepcopy=False)[trial.number]
            for known in get_all_artifact_meta(optuna_trial, storage=self._optuna):
                if known.filename == name:
                    kept.write(known.artifact_id, io.BytesIO(content))
                    return
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / name
                path.write_bytes(content)
                upload_artifact(
                    artifact_store=kept,
                    file_path=str(path),
                    study_or_trial=optuna_trial,
                    storage=self._optuna,
                )

        self._as_owner(trial, keep)

    def finish(self, trial: Trial, outcome: Outcome) -> None:
        """End the trial with its numbers and files; see `_as_owner`."""

        def end() -> None:
            self._set(trial.number, outcome.results)
            if outcome.violation is not None:
                key = self._id(trial.number)
                self._optuna.set_trial_system_attr(key, CONSTRAINT, outcome.violation)
            self._study.tell(trial.number, list(outcome.values))

        for name, content in outcome.files.items():
            self.attach(trial, name, content)
        self._as_owner(trial, end)

    def read(self, trial: Trial, epoch: int, reading: Reading) -> None:
        """Record the objective's reading of a running trial after `epoch`; see `_as_owner`."""

        def note() -> None:
            if len(reading.values) == 1:  # Optuna's dashboard draws one, and refuses several
                (value,) = reading.values
                self._optuna.set_trial_intermediate_value(self._id(trial.number), epoch, value)
            self._set(trial.number, {f"{RUNG}{epoch}": reading})

        self._as_owner(trial, note)

    def prune(self, trial: Trial) -> None:
        """End the trial as stopped early, since others do better; see `_as_owner`."""
        self._as_owner(trial, lambda: self._study.tell(trial.number, state=TrialState.PRUNED))

    def diverge(self, trial: Trial, reason: str) -> None:
        """End the trial without a value, which a retry would not have either; see `_as_owner`."""

        def end() -> None:
            self._set(trial.number, {REASON: reason})
            self._study.tell(trial.number, state=TrialState.FAIL)

        self._as_owner(trial, end)

    def _as_owner(self, trial: Trial, act: Callable[[], object]) -> None:
        """Write to a trial if its worker still has it.

        A worker without a heartbeat for a while (its machine slept) may find the trial taken over
        or ended: then the other worker writes the numbers, once.
        """

        def act_on_own() -> None:
            with self.lock:
                known = next(one for one in self.trials() if one.number == trial.number)
                if known.state == "running" and known.worker == trial.worker:
                    act()

        self.with_retries(act_on_own)

    def _set(self, number: int, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self._optuna.set_trial_user_attr(self._id(number), key, value)

    def _id(self, number: int) -> int:
        study_id = self._optuna.get_study_id_from_name(self.name)
        return self._optuna.get_trial_id_from_study_id_trial_number(study_id, number)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Convert the search space to Optuna's distributions."""
    return {dimension.knob: _distribution(dimension) for dimension in space.dimensions}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _plain(trial: FrozenTrial) -> Trial:
    states: dict[TrialState, State] = {
        TrialState.RUNNING: "running",
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "diverged",
    }
    state, notes = states[trial.state], trial.user_attrs
    readings = {
        int(key.removeprefix(RUNG)): Reading(tuple(note[0]), note[1])
        for key, note in notes.items()
        if key.startswith(RUNG)
    }
    results = {k: v for k, v in notes.items() if k != WORKER and not k.startswith(RUNG)}
    return Trial(
        trial.number,
        dict(trial.params),
        state,
        tuple(trial.values) if trial.values is not None and state == "finished" else None,
        trial.constraints.get(VIOLATION),
        results,
        notes[WORKER],
        dict(sorted(readings.items())),
    )
