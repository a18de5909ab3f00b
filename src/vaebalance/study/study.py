"""Begin or open a study: its objective, the settings and data of its trials, and their search."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset
from vaebalance.objectives.frontier import distortion_at_rate_zero
from vaebalance.objectives.objectives import Frontier
from vaebalance.settings import PARAMS, Settings, TrainSettings
from vaebalance.study.results.study_charts import axis_title
from vaebalance.study.search.identity import (
    Beginning,
    StudyIdentity,
    open_prepared,
    refuse_pointless,
)
from vaebalance.study.search.knobs import (
    current_point,
    edit_point,
    samples_of,
    search_space,
    with_values,
)
from vaebalance.study.search.search import Plan, Search
from vaebalance.study.space import Point
from vaebalance.study.storage.journal import Journal
from vaebalance.study.storage.location import database_setting, open_existing_storage, open_storage
from vaebalance.study.trials import Trial

COMMAND = "vaebalance study"


class Study:
    """A study: its objective, the settings and data that its trials share, and their search.

    Objective and space are those that the study noted when it began, whatever params.yaml says now.
    Only this class reads the settings; other functions take a study or plain data.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        beginning: Beginning,
        dataset: Dataset | None = None,
    ) -> None:
        """Assemble a study that has begun (see `begin`); None: open its data when it is needed."""
        self._settings, self._journal, self._dataset = settings, journal, dataset
        self.name, self.folder = journal.name, journal.folder
        self.identity, self.reference = beginning.identity, beginning.reference
        self.space, self.objective = self.identity.space, self.identity.objective
        self.evaluate, self.epochs = settings.evaluate, settings.train.epochs
        self.is_frontier = isinstance(self.objective, Frontier)  # a knee in place of a best trial
        tune = settings.tune
        self.plan = Plan(
            space=self.space,
            sampler=tune.sampler,
            seed=settings.seed,
            trials=tune.trials,
            start=beginning.start,
            better=tuple(goal.better for goal in self.objective.goals),
            pruner=tune.pruner,
            workers=tune.workers,
            together=tune.together,
        )
        self.search = Search(journal, self.plan)

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared data."""
        return open_prepared() if self._dataset is None else self._dataset

    @property
    def is_shared_by_machines(self) -> bool:
        """Whether the study is kept in a database."""
        return database_setting(self._settings.tune.storage) is not None

    def settings_of(self, point: Point) -> TrainSettings:
        """Return the settings that a trial at `point` is trained with."""
        return with_values(self._settings, point)

    def refuse_changes(self) -> None:
        """Check that params.yaml and the data are those that the study began with.

        Raises:
            UserError: they are not; says what differs.
        """
        now = StudyIdentity.of(self._settings, self.dataset, search_space(self._settings))
        self.identity.refuse_other(now, self.name)

    def trials(self) -> list[Trial]:
        """Return all trials by number."""
        return self._journal.trials()

    @property
    def notes(self) -> dict[str, Any]:
        """The notes about the study, by key."""
        return self._journal.notes

    def note(self, key: str, value: Any) -> None:
        """Keep plain data about the study."""
        self._journal.note(key, value)

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """A lock that one process of the study holds at a time."""
        return self._journal.lock

    @property
    def publishing(self) -> AbstractContextManager[Any]:
        """The lock to hold while the study's tables and figures are written."""
        return self._journal.publishing


def begin(settings: Settings, folder: Path) -> Study:
    """Begin the study in `folder`, or continue it.

    Raises:
        UserError: the search is pointless, or the study began with other settings or data.
    """
    space = search_space(settings)
    refuse_pointless(settings, space)
    dataset = open_prepared()
    identity = StudyIdentity.of(settings, dataset, space)
    goals = identity.objective.goals
    storage = open_storage(settings.tune.storage, folder)
    journal = Journal(folder, tuple(goal.better for goal in goals), storage)

    def begin_once() -> Beginning:
        with journal.lock:
            beginning = Beginning.read(journal)
            if beginning is None:
                text = PARAMS.read_text(encoding="utf-8")
                for point in samples_of(space):  # refuse what could not be written back
                    edit_point(text, point)
                zero = None
                if isinstance(identity.objective, Frontier):
                    zero = distortion_at_rate_zero(settings.likelihood, dataset, settings.seed)
                beginning = Beginning(identity, current_point(settings, space), zero)
                beginning.write(journal)
            return beginning

    beginning = journal.with_retries(begin_once)
    beginning.identity.refuse_other(identity, journal.name)
    journal.name_goals([axis_title(goal) for goal in goals])
    return Study(settings, journal, beginning, dataset)


def open_existing(settings: Settings, folder: Path) -> Study:
    """Open the study in `folder`.

    Raises:
        UserError: there is none.
    """
    url = settings.tune.storage
    storage, names = open_existing_storage(url, folder)
    if storage is None:
        place = database_setting(url) or folder.parent
        raise UserError(
            f"tune.study = {folder.name!r}: there is no such study yet in {place} "
            f"(there: {', '.join(names) or 'none'}); begin it with `{COMMAND}`."
        )
    journal = Journal(folder, storage=storage)
    beginning = Beginning.read(journal)
    if beginning is None:
        raise UserError(f"the study {journal.name!r} is empty; begin it with `{COMMAND}`.")
    return Study(settings, journal, beginning)
