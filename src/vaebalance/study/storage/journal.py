"""An Optuna study as plain `Trial`s, wherever it lies.

Whoever adds a trial, or takes over one from a process that is gone, holds `Journal.lock` meanwhile.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

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

ARTIFACTS = "artifacts"
SUBJECT = "subject"
REASON = "reason"
RUNG = "rung "  # and the epoch: what the objective said then
VIOLATION = "violation"
CONSTRAINT = f"constraints:{VIOLATION}"  # where Optuna's samplers and dashboard look for it

DIRECTIONS = {"lower": StudyDirection.MINIMIZE, "higher": StudyDirection.MAXIMIZE}


State = Literal["running", "finished", "pruned", "diverged"]


@dataclass(frozen=True)
class Trial:
    """One point of the space, and what came of it."""

    number: int  # from 0
    point: Point
    state: State
    values: tuple[float, ...] | None  # one for each goal, once finished
    violation: float | None  # ≤ 0 where the objective's target is met; None: it has none
    results: Mapping[str, Any]  # distortion, rate, … once finished; a reason once diverged
    worker: str  # who runs it, or ran it last
    rungs: Mapping[int, Reading] = field(default_factory=dict)  # epoch -> what was said of it there


class Journal:
    """The study in `folder`, whose name is the folder's."""

    def __init__(
        self, folder: Path, goals: Sequence[Better] = ("lower",), storage: Storage | None = None
    ) -> None:
        """Open the study, or start an empty one.

        Args:
            folder: of the study's files.
            goals: the better end of each number of a new study; one that has notes keeps its own.
            storage: where the study lies; None: in a file in `folder`.

        Raises:
            UserError: the file is damaged, or the study is another program's.
        """
        self.folder = folder
        self.name = folder.name
        folder.mkdir(parents=True, exist_ok=True)
        self._storage = storage or FileStorage(folder)
        self._optuna = self._storage.optuna
        directions = [DIRECTIONS[better] for better in goals]
        self._study = self.patiently(lambda: self._open_study(directions))

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
                # Its maker was killed before the first note, and params.yaml changed since.
                optuna.delete_study(study_name=self.name, storage=self._optuna)
            return optuna.create_study(
                storage=self._optuna, study_name=self.name, directions=directions
            )

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while a trial is added or taken over."""
        return self._storage.lock("claim")

    @property
    def publishing(self) -> AbstractContextManager[Any]:
        """Held while the study's table and figures are written."""
        return self._storage.lock("publish")

    def presence(self) -> AbstractContextManager[str]:
        """A name for this process as a worker."""
        return self._storage.presence()

    def patiently(self, act: Callable[[], Result]) -> Result:
        """The result of `act`, which is begun again where the connection was lost meanwhile.

        Raises:
            UserError: it stays lost.
        """
        return self._storage.patiently(act)

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted about the study."""
        return self.patiently(lambda: self._study.user_attrs)

    def note(self, key: str, value: Any) -> None:
        """Note plain data about the study."""
        self.patiently(lambda: self._study.set_user_attr(key, value))

    def name_goals(self, names: Sequence[str]) -> None:
        """Name the numbers of a trial, as Optuna's own pages show them."""

        def name() -> None:
            with self.lock, warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                if self._study.metric_names != list(names):
                    self._study.set_metric_names(list(names))

        self.patiently(name)

    def trials(self) -> list[Trial]:
        """All trials by number, without any that another program put there."""
        found = self.patiently(lambda: self._study.get_trials(deepcopy=False))
        return [_plain(trial) for trial in found if WORKER in trial.user_attrs]

    def abandoned(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that nobody has ended or still runs."""
        running = {self._id(trial.number): trial for trial in trials if trial.state == "running"}
        found = self._storage.abandoned({key: trial.worker for key, trial in running.items()})
        return [trial for key, trial in running.items() if key in found]

    @contextmanager
    def attending(self, trial: Trial) -> Iterator[None]:
        """Within, the others know that the trial is being run."""
        with self._storage.attending(self._id(trial.number), trial.worker):
            yield

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
        added = self.trials()[-1]
        self._storage.claimed(self._id(added.number))
        return added

    def take_over(self, trial: Trial, worker: str) -> Trial:
        """The running trial, run by `worker` from now on."""
        self._set(trial.number, {WORKER: worker})
        self._storage.claimed(self._id(trial.number))
        return replace(trial, worker=worker)

    def attach(self, trial: Trial, name: str, content: bytes) -> None:
        """Keep a file with a running trial, as Optuna's artifact; Optuna's pages show it.

        A trial that runs again writes it again: Optuna notes an artifact before it writes it, and
        a kill may have come between. See `_as_owner`.
        """
        (self.folder / ARTIFACTS).mkdir(exist_ok=True)
        kept = FileSystemArtifactStore(self.folder / ARTIFACTS)

        def keep() -> None:
            found = self._study.get_trials(deepcopy=False)[trial.number]
            for known in get_all_artifact_meta(found, storage=self._optuna):
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
                    storage=self._optuna,
                )

        self._as_owner(trial, keep)

    def finish(
        self,
        trial: Trial,
        values: Sequence[float],
        results: Mapping[str, Any],
        violation: float | None = None,
    ) -> None:
        """The trial has come to its end; see `_as_owner`."""

        def end() -> None:
            self._set(trial.number, results)
            if violation is not None:
                self._optuna.set_trial_system_attr(self._id(trial.number), CONSTRAINT, violation)
            self._study.tell(trial.number, list(values))

        self._as_owner(trial, end)

    def read(self, trial: Trial, epoch: int, reading: Reading) -> None:
        """The objective said this of the running trial after so many epochs; see `_as_owner`."""

        def note() -> None:
            if len(reading.values) == 1:  # Optuna's dashboard draws these, and refuses several
                (value,) = reading.values
                self._optuna.set_trial_intermediate_value(self._id(trial.number), epoch, value)
            self._set(trial.number, {f"{RUNG}{epoch}": reading})

        self._as_owner(trial, note)

    def prune(self, trial: Trial) -> None:
        """The trial was stopped, since others do better; see `_as_owner`."""
        self._as_owner(trial, lambda: self._study.tell(trial.number, state=TrialState.PRUNED))

    def diverge(self, trial: Trial, reason: str) -> None:
        """The trial has no value, and another attempt would have none; see `_as_owner`."""

        def end() -> None:
            self._set(trial.number, {REASON: reason})
            self._study.tell(trial.number, state=TrialState.FAIL)

        self._as_owner(trial, end)

    def _as_owner(self, trial: Trial, act: Callable[[], object]) -> None:
        """Write about a trial that is still its worker's.

        A worker that was not heard of for a while (its machine slept) may find the trial taken over
        or ended: then the numbers are the other's to write, once.
        """

        def act_on_own() -> None:
            with self.lock:
                known = next(one for one in self.trials() if one.number == trial.number)
                if known.state == "running" and known.worker == trial.worker:
                    act()

        self.patiently(act_on_own)

    def _set(self, number: int, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self._optuna.set_trial_user_attr(self._id(number), key, value)

    def _id(self, number: int) -> int:
        study_id = self._optuna.get_study_id_from_name(self.name)
        return self._optuna.get_trial_id_from_study_id_trial_number(study_id, number)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The search space as Optuna has it."""
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
