"""A point -> the numbers of a model trained with it, by the code of the train stage."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from copy import deepcopy
from pathlib import Path

from vaebalance.base.reports import EpochReport
from vaebalance.base.verdicts import names
from vaebalance.data import Dataset
from vaebalance.objectives.objectives import Measurement, Trained
from vaebalance.run.training_run import Training, summary
from vaebalance.settings import Settings
from vaebalance.stacking.groups import alike, join
from vaebalance.study.search.knobs import with_values
from vaebalance.study.search.pruning import PrunedError, Reading, rungs
from vaebalance.study.search.search import Attempt, Outcome
from vaebalance.study.search.trial_picture import PICTURE, draw
from vaebalance.study.space import Point
from vaebalance.study.storage.journal import Trial
from vaebalance.tracking import StudyTracker, Tracker
from vaebalance.tracking.points import flatten
from vaebalance.training.loop import NonFiniteError
from vaebalance.vae.model import VAE

OnEpoch = Callable[[int, EpochReport], None]
"""Told the trial's number, and of each epoch."""
Source = Generator[EpochReport]
NUMBERS = (int, float)  # no truth values
IsToStop = Callable[[Trial, int, Reading], bool]
"""Asked after some epochs whether the trial is to stop there."""


def train_point(
    settings: Settings,
    dataset: Dataset,
    point: Point,
    on_epoch: Callable[[Training, EpochReport], None],
) -> Training:
    """Train with the values of `point`.

    Raises:
        NonFiniteError: the training diverged.
    """
    training = Training(with_values(settings, point), dataset)
    for report in training:
        if isinstance(report, EpochReport):
            on_epoch(training, report)
    return training


def kept_model(training: Training) -> VAE:
    """A copy of the model with the best epoch's weights, in evaluation mode."""
    model = deepcopy(training.learner.model)
    model.load_state_dict(training.best_weights)
    return model.eval()


def ask(settings: Settings, dataset: Dataset, training: Training) -> Measurement:
    """What the objective says of the best epoch so far; the training may go on afterwards.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    objective, validation = settings.tune.objective, training.best.validation
    model = kept_model(training)
    found = objective.measure(Trained(model, validation, dataset, settings.evaluate, settings.seed))
    for goal, value in zip(objective.goals, found.values, strict=True):
        if not math.isfinite(value):
            raise NonFiniteError(f"the {goal.name} of the trained model is {value}.")
    return found


def measured(settings: Settings, dataset: Dataset, training: Training) -> Outcome:
    """What the objective says of a finished training, which keeps its best epoch's weights.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    best, objective = training.best, settings.tune.objective
    found = ask(settings, dataset, training)
    results = {
        **{goal.key: value for goal, value in zip(objective.goals, found.values, strict=True)},
        **found.results,
        "distortion": best.validation.distortion,
        "rate": best.validation.rate,
        "negative_elbo": best.validation.negative_elbo,
        "weighted_loss": best.validation.weighted_loss,
        "best_epoch": best.epoch,
        "epochs": training.history[-1].epoch,
        "verdict": names(training.verdicts),
        "threads": training.threads,
    }
    return Outcome(found.values, results, found.violation)


class TrackedObjective:
    """`measured`, each trial a nested MLflow run, which a trial that runs again continues.

    The run has the metrics of the train stage's run, under the same names.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        tracker: StudyTracker,
        fingerprint: str,
        on_epoch: OnEpoch,
        is_to_stop: IsToStop,
    ) -> None:
        self._settings, self._dataset, self._tracker = settings, dataset, tracker
        self._on_epoch, self._is_to_stop = on_epoch, is_to_stop
        halving = settings.tune.pruner == "halving"
        self._judged = rungs(settings.train.epochs) if halving else ()
        self._study = {"name": tracker.name, "fingerprint": fingerprint}

    def __call__(self, trial: Trial) -> Outcome:
        """Train a trial by itself.

        Raises:
            PrunedError: it is to stop early.
            NonFiniteError: it diverged.
        """
        attempt = self._attempt(trial)
        while True:
            try:
                next(attempt)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def start(self, trials: Sequence[Trial]) -> tuple[list[dict[int, Attempt]], str | None]:
        """See `search.Groups`."""
        trainings = [
            Training(with_values(self._settings, trial.point), self._dataset) for trial in trials
        ]
        groups, reason = alike(trainings)
        attempts = []
        for group in groups:
            some = [trainings[index] for index in group]
            sources: Sequence[Source | None] = join(some) if len(some) > 1 else [None]
            attempts.append(
                {
                    trials[index].number: self._attempt(trials[index], training, source)
                    for index, training, source in zip(group, some, sources, strict=True)
                }
            )
        return attempts, reason

    def _attempt(
        self, trial: Trial, training: Training | None = None, source: Source | None = None
    ) -> Attempt:
        """Train a trial, an epoch at each `next`, and measure it.

        Args:
            trial: that is run.
            training: of its settings, before its first step; None: to be made.
            source: of its reports where it is trained with others; None: it is trained alone.
        """
        started = time.perf_counter()
        parameters = {**trial.point, "study": self._study}
        with self._tracker.trial(trial.number, parameters) as run:
            if training is None:
                training = Training(with_values(self._settings, trial.point), self._dataset)
            reports = iter(training) if source is None else training.taking(source)
            with closing(reports):  # at once, where it is pruned
                for report in reports:
                    if isinstance(report, EpochReport):
                        self._report(run, trial, training, report)
                        yield
            final = flatten({"final": summary(training)}, "/")
            run.log_metrics({key: value for key, value in final.items() if type(value) in NUMBERS})
            run.log_verdicts(training.verdicts)
            outcome = measured(self._settings, self._dataset, training)
            picture = draw(kept_model(training), self._dataset, self._settings.seed)
            _log_file(run, PICTURE, picture)
            goals = (goal.key for goal in self._settings.tune.objective.goals)
            run.log_metrics(
                {f"objective/{key}": v for key, v in zip(goals, outcome.values, strict=True)}
                | {"objective/violation": outcome.violation}
            )
        seconds = round(time.perf_counter() - started, 3)
        results = {**outcome.results, "seconds": seconds}
        return Outcome(outcome.values, results, outcome.violation, {PICTURE: picture})

    def _report(self, run: Tracker, trial: Trial, training: Training, report: EpochReport) -> None:
        run.log_epoch(report)
        self._on_epoch(trial.number, report)
        if report.epoch in self._judged:
            found = ask(self._settings, self._dataset, training)
            reading = Reading(found.values, found.violation)
            if self._is_to_stop(trial, report.epoch, reading):
                raise PrunedError(f"after epoch {report.epoch}, where others do better")


def _log_file(run: Tracker, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / name
        path.write_bytes(content)
        run.log_artifacts(path)
