"""Trials until the study has enough: whoever starts, stops, or is killed meanwhile.

A trial is claimed under a lock, by one record, before it runs. A process that finds a trial
whose process is gone runs it again under its number and with its values. So the trials of a study
that was killed and continued are those of one that never was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vaebalance.errors import UserError
from vaebalance.evaluation.vocabulary import Better
from vaebalance.training import NonFiniteError
from vaebalance.tuning.journal import Journal, Trial
from vaebalance.tuning.pruning import PrunedError, Reading, is_hopeless
from vaebalance.tuning.space import Point, Space
from vaebalance.tuning.suggestions import suggest

WAIT_SECONDS = 0.5
ENDED = ("finished", "pruned")
"""States of the trials that a study counts; one that diverged is made up for."""


@dataclass(frozen=True)
class Plan:
    """What to search."""

    space: Space
    sampler: str
    seed: int
    trials: int  # finished or pruned ones that the study shall have
    start: Point | None  # that of trial 0; None: the sampler's
    better: tuple[Better, ...] = ("lower",)  # end of each number


@dataclass(frozen=True)
class Outcome:
    """What came of a point."""

    values: tuple[float, ...]
    results: Mapping[str, Any]  # plain data worth keeping
    violation: float | None = None  # ≤ 0 where the objective's target is met
    files: Mapping[str, bytes] = field(default_factory=dict)  # to be kept with the trial, by name


class Listener(Protocol):
    """Who wants to know."""

    def started(self, trial: Trial) -> None:
        """A trial is about to run here."""

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """The trial `number` has been run here."""

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Other processes run the last trials."""


def search(
    journal: Journal, plan: Plan, objective: Callable[[Trial], Outcome], listener: Listener
) -> None:
    """Run trials until `plan.trials` of the study are finished or pruned.

    Raises:
        UserError: more trials diverged than were asked for.
    """
    with journal.presence() as worker:
        while not is_complete(journal.trials(), plan):
            trial = journal.patiently(lambda: claim(journal, plan, worker))
            if trial is None:
                listener.waiting(journal.trials())
                time.sleep(WAIT_SECONDS)
                continue
            listener.started(trial)
            _run(journal, trial, objective)
            listener.ended(journal.trials(), trial.number)


def judge(journal: Journal, better: tuple[Better, ...]) -> Callable[[Trial, int, Reading], bool]:
    """Whether a trial is to stop after an epoch, by what others came to there; it is noted."""

    def is_to_stop(trial: Trial, epoch: int, reading: Reading) -> bool:
        journal.read(trial, epoch, reading)
        others = [
            other.rungs[epoch]
            for other in journal.trials()
            if other.number != trial.number and epoch in other.rungs
        ]
        return is_hopeless(reading, others, better)

    return is_to_stop


def is_complete(trials: Sequence[Trial], plan: Plan) -> bool:
    """Whether the study has the trials it shall have.

    Raises:
        UserError: it may never have.
    """
    diverged = [trial for trial in trials if trial.state == "diverged"]
    if len(diverged) > plan.trials:
        raise UserError(
            f"{len(diverged)} trials diverged, the last because {diverged[-1].results['reason']}. "
            "Lower train.learning_rate, set train.gradient_clip, or narrow tune.space; "
            "then begin another study by a new name in tune.study."
        )
    return sum(trial.state in ENDED for trial in trials) >= plan.trials


def claim(journal: Journal, plan: Plan, worker: str) -> Trial | None:
    """A trial for `worker` to run; None while other processes run all that are left."""
    with journal.lock:
        trials = journal.trials()
        if left := journal.abandoned(trials):
            return journal.take_over(left[0], worker)
        if sum(trial.state != "diverged" for trial in trials) >= plan.trials:
            return None
        return journal.add(plan.space, _next_point(plan, trials), worker)


def _next_point(plan: Plan, trials: Sequence[Trial]) -> Point:
    if plan.start is not None and not trials:
        return plan.start
    position = len(trials) if plan.start is None else len(trials) - 1
    return suggest(plan.sampler, plan.space, trials, plan.seed, position, plan.better)


def _run(journal: Journal, trial: Trial, objective: Callable[[Trial], Outcome]) -> None:
    with journal.attending(trial):
        try:
            outcome = objective(trial)
        except NonFiniteError as error:
            journal.diverge(trial, str(error).partition(". ")[0])
        except PrunedError:
            journal.prune(trial)
        else:
            for name, content in outcome.files.items():
                journal.attach(trial, name, content)
            journal.finish(trial, outcome.values, outcome.results, outcome.violation)
