"""Claim, run and conclude trials until the study has enough, whoever starts, stops or is killed.

A process claims a trial under a lock, by a single record, before it runs it. A process that finds a
trial whose process is gone runs it again, with the same number and values. So a study that was
killed and continued has the trials of one that never was. Trials that train together are claimed
together, and each is concluded by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from vaebalance.base.errors import UserError
from vaebalance.evaluation.metrics import Better
from vaebalance.study.search.pruning import PrunedError, Reading, is_hopeless
from vaebalance.study.search.sampling import suggest
from vaebalance.study.space import Point, Space
from vaebalance.study.storage.journal import Journal
from vaebalance.study.trials import ENDED, Outcome, Trial
from vaebalance.training.loop import NonFiniteError

WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """What a study searches, and how."""

    space: Space
    sampler: str
    seed: int
    trials: int  # number of finished or pruned trials that complete the study
    start: Point | None  # point of trial 0; None: the sampler's
    better: tuple[Better, ...] = ("lower",)  # better end of each number
    pruner: str = "none"
    workers: int = 1  # processes that share the trials
    together: int | Literal["auto"] = "auto"  # trials that a process trains at once


Attempt = Generator[None, None, Outcome]
"""A trial in training; each `next` trains one epoch."""


class Trainer(Protocol):
    """Trains the points of trials."""

    @property
    def size(self) -> int:
        """Largest number of trials to train at once."""

    def start(self, trials: Sequence[Trial]) -> tuple[list[dict[int, Attempt]], str | None]:
        """Start the attempts of `trials`.

        Returns:
            Attempts by trial number, one dict for each group that trains together, and the reason
            why not all do; None: all do.
        """


class Listener(Protocol):
    """Follows a search."""

    def note(self, text: str) -> None:
        """Handle a remark about how trials run here; it may come again."""

    def started(self, trial: Trial) -> None:
        """Handle a trial that is about to run here."""

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """Handle the end of the trial `number`, which ran here."""

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Handle a wait for other processes, which run the last trials."""


class Search:
    """Claims, runs and concludes the trials of a study, which several processes may share."""

    def __init__(self, journal: Journal, plan: Plan) -> None:
        self._journal = journal
        self.plan = plan

    def trials(self) -> list[Trial]:
        """Return all trials by number."""
        return self._journal.trials()

    def is_running(self, trial: Trial) -> bool:
        """Return whether the worker of a running trial is alive."""
        return not self._journal.stale([trial])

    def is_complete(self) -> bool:
        """Return whether the study has as many trials as planned.

        Raises:
            UserError: more trials diverged than were planned.
        """
        trials, planned = self.trials(), self.plan.trials
        diverged = [trial for trial in trials if trial.state == "diverged"]
        if len(diverged) > planned:
            raise UserError(
                f"{len(diverged)} trials diverged, the last because "
                f"{diverged[-1].results['reason']}. Lower train.learning_rate, set "
                "train.gradient_clip, or narrow tune.space; then begin another study by a new name "
                "in tune.study."
            )
        return sum(trial.state in ENDED for trial in trials) >= planned

    def run_until_complete(self, trainer: Trainer, listener: Listener) -> None:
        """Claim and run trials until the study is complete.

        Raises:
            UserError: more trials diverged than were planned.
        """
        with self._journal.heartbeat() as worker:
            while not self.is_complete():
                if trials := self.claim(worker, trainer.size):
                    self.run(trials, trainer, listener)
                else:
                    listener.waiting(self.trials())
                    time.sleep(WAIT_SECONDS)

    def claim(self, worker: str, most: int = 1) -> list[Trial]:
        """Claim trials for `worker` to run at once; none while others run all that are left.

        Trials that a killed process left are not filled up with new ones, so that new points are
        suggested when the sampler knows as much as it would have known.
        """
        return self._journal.with_retries(partial(self._claim, worker, most))

    def _claim(self, worker: str, most: int) -> list[Trial]:
        with self._journal.lock:
            trials = self.trials()
            if stale := self._journal.stale(trials):
                return [self._journal.take_over(trial, worker) for trial in stale[:most]]
            free = self.plan.trials - sum(trial.state != "diverged" for trial in trials)
            points = _next_points(self.plan, trials, min(most, free))
            return [self._journal.add(self.plan.space, point, worker) for point in points]

    def run(self, trials: Sequence[Trial], trainer: Trainer, listener: Listener) -> None:
        """Run claimed trials; those of a group take turns, an epoch each."""
        leases = {trial.number: ExitStack() for trial in trials}

        def ended(number: int) -> None:
            leases[number].close()
            listener.ended(self.trials(), number)

        with ExitStack() as everything:
            for trial in trials:
                everything.enter_context(leases[trial.number])
                leases[trial.number].enter_context(self._journal.lease(trial))
                listener.started(trial)
            groups, reason = trainer.start(trials)
            if reason is not None:
                listener.note(f"note: not all trials can be trained together here: {reason}.")
            by_number = {trial.number: trial for trial in trials}
            for group in groups:
                self._take_turns(group, by_number, ended)

    def _take_turns(
        self,
        group: Mapping[int, Attempt],
        trials: Mapping[int, Trial],
        ended: Callable[[int], None],
    ) -> None:
        """Train a group to the end of its last trial."""
        running = dict(group)
        try:
            while running:
                for number, attempt in list(running.items()):
                    if self.conclude(trials[number], partial(_next, attempt)):
                        del running[number]
                        ended(number)
        except BaseException as error:
            _throw_into(running.values(), error)
            raise

    def conclude(self, trial: Trial, train: Callable[[], Outcome | None]) -> bool:
        """Call `train` and record how the trial ended by it.

        Returns:
            Whether the trial has ended; it goes on where `train` returns None.
        """
        try:
            outcome = train()
        except NonFiniteError as error:
            self._journal.diverge(trial, str(error).partition(". ")[0])
        except PrunedError:
            self._journal.prune(trial)
        else:
            if outcome is None:
                return False
            self._journal.finish(trial, outcome)
        return True

    def should_stop(self, trial: Trial, epoch: int, reading: Reading) -> bool:
        """Record a reading of a running trial; return whether too many others beat it there."""
        self._journal.read(trial, epoch, reading)
        others = [
            other.rungs[epoch]
            for other in self.trials()
            if other.number != trial.number and epoch in other.rungs
        ]
        return is_hopeless(reading, others, self.plan.better)


def _next_points(plan: Plan, trials: Sequence[Trial], count: int) -> list[Point]:
    """Return `count` points, each suggested as if those before it were running."""
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


def _next(attempt: Attempt) -> Outcome | None:
    """Train for an epoch; return the outcome after the last one."""
    try:
        next(attempt)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    return None


def _throw_into(attempts: Iterable[Attempt], error: BaseException) -> None:
    """End the attempts that wait for their turn by the error that ended another."""
    for attempt in attempts:
        with suppress(BaseException):
            attempt.throw(error)
