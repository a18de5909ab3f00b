"""`study`: a study's run with one nested run per trial, found again by name and number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebalance.base.errors import UserError
from vaebalance.tracking.points import flatten, param_text
from vaebalance.tracking.stages import origin
from vaebalance.tracking.store import Store, open_store
from vaebalance.tracking.tracker import STOPPED, Tracker, lifecycle

if TYPE_CHECKING:
    from mlflow.entities import Run

STUDY = "vaebalance.study"
TRIAL = "vaebalance.trial"
STATE = "state"
STUDY_ITSELF = "study"
"""Instead of a trial's number: the run of the study itself."""
Exceptions = tuple[type[BaseException], ...]


class StudyTracker:
    """The run of a study."""

    def __init__(self, name: str, tracker: Tracker, pruned: Exceptions) -> None:
        self.name = name
        self._tracker = tracker
        self._pruned = pruned

    @property
    def run_id(self) -> str:
        """Id of the study's run."""
        return self._tracker.run_id

    @contextmanager
    def trial(
        self, number: int, params: Mapping[str, Any], tags: Mapping[str, str] | None = None
    ) -> Iterator[Tracker]:
        """Open the nested run of a trial; the same number with the same parameters finds it again.

        A trial of that number with other parameters belongs to a former study of this name: its run
        goes to MLflow's trash.
        """
        tracker = Tracker(self._tracker.store, self._find_or_create(number, params))
        with lifecycle(tracker, STATE, STOPPED + self._pruned):
            tracker.log_params(params)
            tracker.set_tags(tags or {})
            yield tracker

    def log_metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Log final numbers: see `Tracker.log_metrics`."""
        self._tracker.log_metrics(values, step)

    def log_artifacts(self, path: Path, artifact_path: str = "") -> None:
        """Log files: see `Tracker.log_artifacts`."""
        self._tracker.log_artifacts(path, artifact_path)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags: see `Tracker.set_tags`."""
        self._tracker.set_tags(tags)

    def _find_or_create(self, number: int, params: Mapping[str, Any]) -> Run:
        store = self._tracker.store
        run = _find(store, f"tags.`{STUDY}` = '{self.name}' AND tags.`{TRIAL}` = '{number}'")
        if run is not None:
            if _agree(run.data.params, params):
                return run
            store.client.delete_run(run.info.run_id)
        return store.client.create_run(
            store.experiment_id,
            run_name=f"trial {number}",
            tags={
                "mlflow.parentRunId": self.run_id,
                STUDY: self.name,
                TRIAL: str(number),
                **origin(),
            },
        )


@contextmanager
def study(name: str, params: Mapping[str, Any], pruned: Exceptions = ()) -> Iterator[StudyTracker]:
    """Open the run of the study `name`, creating it if needed; continuing it repeats nothing.

    A parameter that differs from the run's (such as a larger number of trials) becomes a tag,
    because MLflow never changes a parameter. Exceptions of the types `pruned` mark a trial as
    KILLED, not FAILED; like all others they reach the caller.

    Raises:
        UserError: MLflow could not search for that name.
    """
    if not re.fullmatch(r"[\w .:/=+@,()-]+", name):
        raise UserError(
            f"the study name {name!r} has a character that MLflow cannot search for; use letters, "
            "digits, spaces and any of . : / = + @ , ( ) - _"
        )
    store = open_store()
    tracker = Tracker(store, _study_run(store, name))
    with lifecycle(tracker, STATE):
        tracker.log_params(params)
        flat = {key: param_text(value) for key, value in flatten(params, ".").items()}
        tracker.set_tags({key: text for key, text in flat.items() if tracker.params[key] != text})
        yield StudyTracker(name, tracker, pruned)


def _study_run(store: Store, name: str) -> Run:
    with store.lock():
        run = _find(store, f"tags.`{STUDY}` = '{name}' AND tags.`{TRIAL}` = '{STUDY_ITSELF}'")
        if run is not None:
            return run
        tags = {STUDY: name, TRIAL: STUDY_ITSELF, **origin()}
        return store.client.create_run(store.experiment_id, run_name=name, tags=tags)


def _find(store: Store, condition: str) -> Run | None:
    runs = store.client.search_runs([store.experiment_id], condition, max_results=1)
    return runs[0] if runs else None


def _agree(known: Mapping[str, str], params: Mapping[str, Any]) -> bool:
    flat = {key: param_text(value) for key, value in flatten(params, ".").items()}
    return all(known.get(key, text) == text for key, text in flat.items())
