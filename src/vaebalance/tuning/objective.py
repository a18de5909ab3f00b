"""A weight -> the numbers of a model trained with it, by the code of the train stage."""

from __future__ import annotations

import time
from collections.abc import Callable

from vaebalance.data import Dataset
from vaebalance.epochs import EpochReport
from vaebalance.experiment import Training, summary
from vaebalance.settings import Settings
from vaebalance.tracking import StudyTracker
from vaebalance.tracking.points import flatten
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.search import Outcome
from vaebalance.tuning.subject import with_weight
from vaebalance.verdicts import names

OnEpoch = Callable[[EpochReport], None]


def train_weight(
    settings: Settings, dataset: Dataset, weight: float, on_epoch: OnEpoch
) -> Training:
    """Train with `weight`.

    Raises:
        NonFiniteError: the training diverged.
    """
    training = Training(with_weight(settings, weight), dataset)
    for report in training:
        if isinstance(report, EpochReport):
            on_epoch(report)
    return training


def negative_elbo(training: Training, seconds: float) -> Outcome:
    """The validation D + R (α = β = 1) of the best epoch, in nats per image.

    Its likelihood is the same for every weight, so that trials compare; the weighted loss would
    not do (see `settings.WEIGHTED_LOSS_REFUSED`).
    """
    best = training.best
    results = {
        "distortion": best.validation.distortion,
        "rate": best.validation.rate,
        "weighted_loss": best.validation.weighted_loss,
        "best_epoch": best.epoch,
        "epochs": training.history[-1].epoch,
        "verdict": names(training.verdicts),
        "seconds": round(seconds, 3),
    }
    return Outcome(best.validation.negative_elbo, results)


def tracked_objective(
    settings: Settings,
    dataset: Dataset,
    tracker: StudyTracker,
    fingerprint: str,
    on_epoch: OnEpoch,
) -> Callable[[Trial], Outcome]:
    """`negative_elbo`, each trial a nested MLflow run, which a trial that runs again continues.

    The run has the metrics of the train stage's run, under the same names.
    """
    knob = f"balance.{settings.tune.parameter}"
    study = {"name": tracker.name, "fingerprint": fingerprint}

    def objective(trial: Trial) -> Outcome:
        started = time.perf_counter()
        with tracker.trial(trial.number, {knob: trial.weight, "study": study}) as run:

            def report_epoch(report: EpochReport) -> None:
                run.log_epoch(report)
                on_epoch(report)

            training = train_weight(settings, dataset, trial.weight, report_epoch)
            final = flatten({"final": summary(training)}, "/")
            del final["final/stopped_early"], final["final/verdict"]  # no numbers
            run.log_metrics(final)
            run.log_verdicts(training.verdicts)
        return negative_elbo(training, time.perf_counter() - started)

    return objective
