"""Trials until the study has enough: whoever starts, stops, or is killed meanwhile.

A trial is claimed under a lock, by one record, before it runs. A process that finds a trial
whose process is gone runs it again under its number and with its values. So the trials of a study
that was killed and continued are those of one that never was. Several that are trained at once are
claimed at once, and each ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from vaebalance.base.errors import UserError
from vaebalance.evaluation.metrics import Better
from vaebalance.study.search.pruning import PrunedError, Reading, is_hopeless
from vaebalance.study.search.sampling import suggest
from vaebalance.study.space import Point, Space
from vaebalance.study.storage.journal import Journal, Trial
from vaebalance.training.loop import NonFiniteError

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


Attempt = Generator[None, None, Outcome]
"""A trial that is being trained, an epoch at each `next`."""


@dataclass(frozen=True)
class Groups:
    """Trials that are trained at once."""

    size: int  # trials claimed at once, at most
    start: Callable[[Sequence[Trial]], tuple[list[dict[int, Attempt]], str | None]]
    """Attempts by trial number, those that are trained at once in one dict, and why not all are."""


class Listener(Protocol):
    """Who wants to know."""

    def note(self, text: str) -> None:
        """Something about how trials are run here; may be said again."""

    def started(self, trial: Trial) -> None:
        """A trial is about to run here."""

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """The trial `number` has been run here."""

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Other processes run the last trials."""


def search(
    journal: Journal,
    plan: Plan,
    objective: Callable[[Trial], Outcome],
    listener: Listener,
    groups: Groups | None = None,
) -> None:
    """Run trials until `plan.trials` of the study are finished or pruned.

    Raises:
        UserError: more trials diverged than were asked for.
    """
    most = 1 if groups is None else groups.size
    with journal.presence() as worker:
        while not is_complete(journal.trials(), plan):
            trials = journal.patiently(lambda: claim_several(journal, plan, worker, most))
            if not trials:
                listener.waiting(journal.trials())
                time.sleep(WAIT_SECONDS)
            elif groups is None or len(trials) == 1:
                (trial,) = trials
                listener.started(trial)
                _run(journal, trial, objective)
                listener.ended(journal.trials(), trial.number)
            else:
                _run_together(journal, trials, groups, listener)


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
    return next(iter(claim_several(journal, plan, worker, 1)), None)


def claim_several(journal: Journal, plan: Plan, worker: str, most: int) -> list[Trial]:
    """Trials for `worker` to run at once; none while other processes run all that are left.

    What a killed process left is not filled up with new trials, so that these are asked for when
    the sampler knows as much as it would have known.
    """
    with journal.lock:
        trials = journal.trials()
        if left := journal.abandoned(trials):
            return [journal.take_over(trial, worker) for trial in left[:most]]
        free = plan.trials - sum(trial.state != "diverged" for trial in trials)
        points = _next_points(plan, trials, min(most, free))
        return [journal.add(plan.space, point, worker) for point in points]


def _next_points(plan: Plan, trials: Sequence[Trial], count: int) -> list[Point]:
    """So many points, each suggested as if those before it were being run."""
    known, points = list(trials), list[Point]()
    for _ in range(count):
        points.append(_next_point(plan, known))
        known.append(Trial(len(known), points[-1], "running", None, None, {}, ""))
    return points


def _next_point(plan: Plan, trials: Sequence[Trial]) -> Point:
    if plan.start is not None and not trials:
        return plan.start
    position = len(trials) if plan.start is None else len(trials) - 1
    return suggest(plan.sampler, plan.space, trials, plan.seed, position, plan.better)


def _run(journal: Journal, trial: Trial, objective: Callable[[Trial], Outcome]) -> None:
    with journal.attending(trial):
        _conclude(journal, trial, lambda: objective(trial))


def _conclude(journal: Journal, trial: Trial, act: Callable[[], Outcome | None]) -> bool:
    """Write what `act` says came of the trial; None: it goes on. Whether it has ended."""
    try:
        outcome = act()
    except NonFiniteError as error:
        journal.diverge(trial, str(error).partition(". ")[0])
    except PrunedError:
        journal.prune(trial)
    else:
        if outcome is None:
            return False
        for name, content in outcome.files.items():
            journal.attach(trial, name, content)
        journal.finish(trial, outcome.values, outcome.results, outcome.violation)
    return True


def _run_together(
    journal: Journal, trials: Sequence[Trial], groups: Groups, listener: Listener
) -> None:
    """Run trials that were claimed at once: in turn, an epoch each, those that are stacked."""
    attending = {trial.number: ExitStack() for trial in trials}
    running: dict[int, Attempt] = {}
    with ExitStack() as everything:
        for trial in trials:
            everything.enter_context(attending[trial.number])
            attending[trial.number].enter_context(journal.attending(trial))
            listener.started(trial)
        attempts, reason = groups.start(trials)
        if reason is not None:
            listener.note(f"note: not all trials can be trained together here: {reason}.")
        found = {trial.number: trial for trial in trials}
        for group in attempts:
            running = dict(group)
            try:
                while running:
                    for number, attempt in list(running.items()):
                        if _conclude(journal, found[number], partial(_next, attempt)):
                            del running[number]
                            attending[number].close()
                            listener.ended(journal.trials(), number)
            except BaseException as error:
                _tell(running.values(), error)
                raise


def _next(attempt: Attempt) -> Outcome | None:
    """Train for an epoch; what came of it once it is over."""
    try:
        next(attempt)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    return None


def _tell(attempts: Iterable[Attempt], error: BaseException) -> None:
    """Let those that wait for their turn end by what ended the others."""
    for attempt in attempts:
        with suppress(BaseException):
            attempt.throw(error)
