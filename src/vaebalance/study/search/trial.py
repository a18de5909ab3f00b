"""Train the points of trials by the code of the train stage, and measure the trained models."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from vaebalance.base.reports import EpochReport
from vaebalance.base.verdicts import names
from vaebalance.data import Dataset
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.objectives.objectives import AbstractObjective, Measurement, Trained
from vaebalance.run.training_run import Training, start_learner, summary
from vaebalance.stacking.groups import alike, group_size, join
from vaebalance.study.search.pruning import PrunedError, Reading, rungs
from vaebalance.study.search.search import Attempt
from vaebalance.study.search.trial_picture import PICTURE, draw
from vaebalance.study.study import Study
from vaebalance.study.trials import Outcome, Trial
from vaebalance.tracking import StudyTracker, Tracker
from vaebalance.tracking.points import flatten
from vaebalance.training.loop import NonFiniteError
from vaebalance.training.precision import work_of
from vaebalance.vae.model import VAE

OnEpoch = Callable[[int, EpochReport], None]
"""Called after each epoch with the trial's number."""
Source = Generator[EpochReport]
NUMBERS = (int, float)  # not bool


def kept_model(training: Training) -> VAE:
    """Return a copy of the model with the best epoch's weights, in evaluation mode."""
    model = deepcopy(training.learner.model)
    model.load_state_dict(training.best_weights)
    return model.eval()


@dataclass(frozen=True)
class Evaluator:
    """Measures a study's objective on trained models."""

    objective: AbstractObjective
    dataset: Dataset
    evaluate: EvaluateSpec
    seed: int

    def measure(self, training: Training) -> Measurement:
        """Measure the best epoch so far; the training may go on afterwards.

        Raises:
            NonFiniteError: a number is NaN or infinite.
        """
        validation, model = training.best.validation, kept_model(training)
        trained = Trained(model, validation, self.dataset, self.evaluate, self.seed)
        measured = self.objective.measure(trained)
        for goal, value in zip(self.objective.goals, measured.values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteError(f"the {goal.name} of the trained model is {value}.")
        return measured

    def outcome(self, training: Training) -> Outcome:
        """Measure a finished training.

        Raises:
            NonFiniteError: a number is NaN or infinite.
        """
        best, measured = training.best, self.measure(training)
        goals = zip(self.objective.goals, measured.values, strict=True)
        results = {
            **{goal.key: value for goal, value in goals},
            **measured.results,
            "distortion": best.validation.distortion,
            "rate": best.validation.rate,
            "negative_elbo": best.validation.negative_elbo,
            "weighted_loss": best.validation.weighted_loss,
            "best_epoch": best.epoch,
            "epochs": training.history[-1].epoch,
            "verdict": names(training.verdicts),
            "threads": training.threads,
        }
        return Outcome(measured.values, results, measured.violation)


class TrackedTrainer:
    """Trains a study's trials, each in a nested MLflow run, which a repeated trial continues.

    The run has the metrics of the train stage's run, under the same names.
    """

    def __init__(self, study: Study, tracker: StudyTracker, on_epoch: OnEpoch) -> None:
        self._study, self._tracker, self._on_epoch = study, tracker, on_epoch
        self._evaluator = Evaluator(study.objective, study.dataset, study.evaluate, study.plan.seed)
        self._judged = rungs(study.epochs) if study.plan.pruner == "halving" else ()
        identity = {"name": study.name, "fingerprint": study.identity.fingerprint}
        self._parameters = {"study": identity}
        self.size = _group_size(study)

    def start(self, trials: Sequence[Trial]) -> tuple[list[dict[int, Attempt]], str | None]:
        """See `search.Trainer`."""
        if len(trials) == 1:
            return [{trials[0].number: self._attempt(trials[0])}], None
        trainings = [self._training(trial) for trial in trials]
        groups, reason = alike(trainings)
        attempts = []
        for group in groups:
            members = [trainings[index] for index in group]
            sources: Sequence[Source | None] = join(members) if len(members) > 1 else [None]
            attempts.append(
                {
                    trials[index].number: self._attempt(trials[index], training, source)
                    for index, training, source in zip(group, members, sources, strict=True)
                }
            )
        return attempts, reason

    def _training(self, trial: Trial) -> Training:
        return Training(self._study.settings_of(trial.point), self._study.dataset)

    def _attempt(
        self, trial: Trial, training: Training | None = None, source: Source | None = None
    ) -> Attempt:
        """Train a trial, one epoch at each `next`, and measure it.

        Args:
            trial: a claimed trial.
            training: its training before the first step; None: make it.
            source: reports of a training together with others; None: train it alone.
        """
        started = time.perf_counter()
        with self._tracker.trial(trial.number, {**trial.point, **self._parameters}) as run:
            if training is None:
                training = self._training(trial)
            reports = iter(training) if source is None else training.taking(source)
            with closing(reports):  # at once, where it is pruned
                for report in reports:
                    if isinstance(report, EpochReport):
                        self._report(run, trial, training, report)
                        yield
            outcome, picture = self._measure(run, training)
        seconds = round(time.perf_counter() - started, 3)
        results = {**outcome.results, "seconds": seconds}
        return Outcome(outcome.values, results, outcome.violation, {PICTURE: picture})

    def _report(self, run: Tracker, trial: Trial, training: Training, report: EpochReport) -> None:
        run.log_epoch(report)
        self._on_epoch(trial.number, report)
        if report.epoch in self._judged:
            measured = self._evaluator.measure(training)
            reading = Reading(measured.values, measured.violation)
            if self._study.search.should_stop(trial, report.epoch, reading):
                raise PrunedError(f"after epoch {report.epoch}, where others do better")

    def _measure(self, run: Tracker, training: Training) -> tuple[Outcome, bytes]:
        """Measure a finished training and log it; return its outcome and picture."""
        study, final = self._study, flatten({"final": summary(training)}, "/")
        run.log_metrics({key: value for key, value in final.items() if type(value) in NUMBERS})
        run.log_verdicts(training.verdicts)
        outcome = self._evaluator.outcome(training)
        picture = draw(kept_model(training), study.dataset, study.plan.seed)
        _log_file(run, PICTURE, picture)
        values = zip(study.objective.goals, outcome.values, strict=True)
        run.log_metrics(
            {f"objective/{goal.key}": value for goal, value in values}
            | {"objective/violation": outcome.violation}
        )
        return outcome, picture


def _group_size(study: Study) -> int:
    """Return the number of trials that a process trains at once."""
    plan = study.plan
    if plan.together != "auto":
        return plan.together
    settings = study.settings_of({})
    learner = start_learner(settings, study.dataset)
    return group_size(
        work=work_of(learner.model, settings.train.batch_size),
        device=learner.device,
        learns=plan.sampler != "quasi_random",
        trials=plan.trials,
        workers=plan.workers,
    )


def _log_file(run: Tracker, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / name
        path.write_bytes(content)
        run.log_artifacts(path)
