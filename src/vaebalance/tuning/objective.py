"""A point -> the numbers of a model trained with it, by the code of the train stage."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch

from vaebalance.data import Dataset
from vaebalance.epochs import EpochReport
from vaebalance.experiment import Training, summary
from vaebalance.model import VAE
from vaebalance.objectives import Measurement, Trained
from vaebalance.settings import Settings
from vaebalance.tracking import StudyTracker, Tracker
from vaebalance.tracking.points import flatten
from vaebalance.training import NonFiniteError
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.knobs import with_values
from vaebalance.tuning.pictures import PICTURE, draw
from vaebalance.tuning.pruning import PrunedError, Reading, rungs
from vaebalance.tuning.search import Outcome
from vaebalance.tuning.space import Point
from vaebalance.verdicts import names

OnEpoch = Callable[[int, EpochReport], None]
"""Told the trial's number, and of each epoch."""
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
        "threads": torch.get_num_threads(),
    }
    return Outcome(found.values, results, found.violation)


def tracked_objective(
    settings: Settings,
    dataset: Dataset,
    tracker: StudyTracker,
    fingerprint: str,
    on_epoch: OnEpoch,
    is_to_stop: IsToStop,
) -> Callable[[Trial], Outcome]:
    """`measured`, each trial a nested MLflow run, which a trial that runs again continues.

    The run has the metrics of the train stage's run, under the same names. The objective raises
    `PrunedError` where a trial is to stop early.
    """
    judged = rungs(settings.train.epochs) if settings.tune.pruner == "halving" else ()
    study = {"name": tracker.name, "fingerprint": fingerprint}

    def objective(trial: Trial) -> Outcome:
        started = time.perf_counter()
        with tracker.trial(trial.number, {**trial.point, "study": study}) as run:

            def report_epoch(training: Training, report: EpochReport) -> None:
                run.log_epoch(report)
                on_epoch(trial.number, report)
                if report.epoch in judged:
                    found = ask(settings, dataset, training)
                    reading = Reading(found.values, found.violation)
                    if is_to_stop(trial, report.epoch, reading):
                        raise PrunedError(f"after epoch {report.epoch}, where others do better")

            training = train_point(settings, dataset, trial.point, report_epoch)
            final = flatten({"final": summary(training)}, "/")
            run.log_metrics({name: v for name, v in final.items() if type(v) in (int, float)})
            run.log_verdicts(training.verdicts)
            outcome = measured(settings, dataset, training)
            picture = draw(kept_model(training), dataset, settings.seed)
            _log_file(run, PICTURE, picture)
            goals = (goal.key for goal in settings.tune.objective.goals)
            run.log_metrics(
                {f"objective/{key}": v for key, v in zip(goals, outcome.values, strict=True)}
                | {"objective/violation": outcome.violation}
            )
        seconds = round(time.perf_counter() - started, 3)
        results = {**outcome.results, "seconds": seconds}
        return Outcome(outcome.values, results, outcome.violation, {PICTURE: picture})

    return objective


def _log_file(run: Tracker, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / name
        path.write_bytes(content)
        run.log_artifacts(path)
