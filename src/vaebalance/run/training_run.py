"""One training from settings to reports, resumable, as the stage and a study run it."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from vaebalance.balancing import RunFacts
from vaebalance.base.adam import Adam
from vaebalance.base.best_epoch import best_of
from vaebalance.base.devices import choose_device, start_threads
from vaebalance.base.errors import UserError
from vaebalance.base.files import write_csv, write_json
from vaebalance.base.provenance import (
    TRAINING_ROOMS,
    Provenance,
    stage_provenance,
    write_provenance,
)
from vaebalance.base.reports import EpochReport, StepReport, write_reports
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.base.verdicts import Verdict, describe_verdicts
from vaebalance.data import Dataset
from vaebalance.evaluation.diagnosis import DiagnosisContext, diagnose, diagnose_so_far
from vaebalance.run.checkpoints import (
    Checkpoint,
    copied,
    learner_state,
    restore_learner,
    save_checkpoint,
)
from vaebalance.run.resumable import ResumableTraining
from vaebalance.settings import TrainSettings
from vaebalance.training.graph_steps import CompiledStep
from vaebalance.training.loader import Images
from vaebalance.training.loop import make_step, steps_per_epoch, train
from vaebalance.training.precision import choose_threads, make_terms, name_of, work_of
from vaebalance.training.step import Learner
from vaebalance.vae.likelihoods import Gaussian
from vaebalance.vae.model import VAE
from vaebalance.vae.saved_model import save_model

EVALUATED = "model"  # the best epoch: see `best_epoch`
LAST = "last"  # the last epoch
REPORTS = "reports.json"  # of all epochs: evidence for the diagnosis


def start_learner(settings: TrainSettings, dataset: Dataset) -> Learner:
    """Build a learner, whose initial weights depend on the seed and the settings alone."""
    _refuse_misfits(settings, dataset.info.binarisation)
    device = choose_device(settings.train.device)
    start_threads()
    with forked(derive_seed(settings.seed, "initial weights")):
        model = VAE(settings.model, settings.likelihood, dataset.info.image_shape).to(device)
    optimizer = Adam(
        model.parameters(), lr=settings.train.learning_rate, fused=device.type != "mps"
    )
    start = settings.balance.initial_state(run_facts(settings, dataset))
    state = {name: value.to(device) for name, value in start.items()}
    terms = make_terms(settings.train.precision, model, settings.train.batch_size)
    learner = Learner(model, optimizer, settings.balance, state, settings.penalty, terms)
    learner.threads = choose_threads(work_of(model, settings.train.batch_size), device)
    return learner


def _refuse_misfits(settings: TrainSettings, binarisation: str) -> None:
    """Check the settings against data that other settings may have prepared."""
    likelihood, latent_size = settings.likelihood, settings.model.latent_size
    binarised = binarisation != "none"
    misfit = likelihood.misfit(binarisation) or settings.balance.misfit(
        likelihood, latent_size, binarised=binarised
    )
    if misfit:
        raise UserError(f"{misfit}.")


def run_facts(settings: TrainSettings, dataset: Dataset) -> RunFacts:
    """Return what the balance may know of this run."""
    batches = steps_per_epoch(len(dataset.images("train")), settings.train)
    likelihood = settings.likelihood
    return RunFacts(
        dimensions=math.prod(dataset.info.image_shape),
        latent_size=settings.model.latent_size,
        steps=batches * settings.train.epochs,
        steps_per_epoch=batches,
        sigma=likelihood.sigma if isinstance(likelihood, Gaussian) else None,
    )


class Training(ResumableTraining[EpochReport]):
    """One training, which stops early and keeps the weights of the best epoch."""

    def __init__(
        self,
        settings: TrainSettings,
        dataset: Dataset,
        fingerprint: str = "",
        checkpoint: Path | None = None,
    ) -> None:
        """Begin, or resume from `checkpoint`: see `resume`.

        Raises:
            UserError: settings and data do not fit, a split is empty, or the checkpoint cannot be
                read.
        """
        super().__init__(settings.train.epochs, settings.train.checkpoint_every, fingerprint)
        self.spec = settings.train
        self.seed = settings.seed
        self.learner = start_learner(settings, dataset)
        self.images = _images(dataset, "train").to(self.learner.device)
        self.validation = _images(dataset, "validation").to(self.learner.device)
        steps = run_facts(settings, dataset).steps
        self.learner.step = make_step(self.learner, self.images, settings.train, steps)
        self.best_weights = copied(self.learner.model.state_dict())
        self.context = DiagnosisContext(
            balance=settings.balance,
            likelihood=settings.likelihood,
            is_variational=self.learner.model.is_variational,
            dimensions=math.prod(dataset.info.image_shape),
        )
        if checkpoint is not None:
            self.resume(checkpoint, fingerprint)

    @property
    def best(self) -> EpochReport:
        """The epoch whose weights are kept."""
        return best_of(self.history)

    @property
    def verdicts(self) -> list[Verdict]:
        """What is wrong with the trained model; empty if it is healthy. Needs an epoch."""
        return diagnose(self.context, self.history, self.history.index(self.best))

    @property
    def verdicts_so_far(self) -> list[Verdict]:
        """What has been wrong for some epochs of a training that goes on."""
        return diagnose_so_far(self.context, self.history, self.spec.epochs)

    @property
    def stopped_early(self) -> bool:
        """Whether `train.patience` epochs went by without a better validation number.

        Never while the balance's schedule runs, or its controller is off its target.
        """
        patience = self.spec.patience
        if patience is None or not self.history or not self.history[-1].settled:
            return False
        return self.history[-1].epoch - self.best.epoch >= patience

    @property
    def threads(self) -> int:
        """Threads that it is trained on."""
        return self.learner.threads or torch.get_num_threads()

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return self.learner.device

    @property
    def status(self) -> str:
        """How the steps run, where that is worth a line to the user; else empty."""
        return "" if self.learner.step is None else self.learner.step.status

    @property
    def is_binarised(self) -> bool:
        """Whether the pixels are 0 or 1."""
        return self.images.binarisation != "none"

    def _train(self, epochs_done: int) -> Generator[StepReport | EpochReport]:
        return train(self.learner, self.images, self.validation, self.spec, self.seed, epochs_done)

    def _record(self, report: EpochReport) -> None:
        if best_of([*self.history, report]) is report:
            self.best_weights = copied(self.learner.model.state_dict())
        super()._record(report)

    def _state(self) -> dict[str, Any]:
        return {"learner": learner_state(self.learner), "best_weights": self.best_weights}

    def _restore(self, state: dict[str, Any]) -> None:
        restore_learner(self.learner, state["learner"])
        self.best_weights = state["best_weights"]

    def _report_from(self, values: dict[str, Any]) -> EpochReport:
        return EpochReport.from_dict(values)


def _images(dataset: Dataset, split: str) -> Images:
    stored = dataset.images(split)
    if len(stored) == 0:
        raise UserError(
            f"the {split} split is empty; raise data.validation_fraction, or bring more images."
        )
    return Images(stored, dataset.info.binarisation)


def provenance_of(settings: TrainSettings, dataset: Dataset) -> Provenance:
    """Return the fingerprint of a training of `settings` on `dataset` by this code."""
    params = settings.model_dump(mode="json")
    return stage_provenance(params, dataset.info.to_json(), TRAINING_ROOMS)


def save(training: Training, provenance: Provenance, artifacts: Path, metrics: Path) -> None:
    """Write the outputs of a finished training.

    Below `artifacts`: `model/` (best epoch), `last.pt` (resume state), history.csv,
    latent_rates.csv and reports.json, which are deterministic, and timing.csv, which is not. To
    `metrics`: the numbers of the best epoch.
    """
    save_model(artifacts / EVALUATED, training.learner.model, training.best_weights)
    write_provenance(artifacts / EVALUATED, provenance)
    save_checkpoint(artifacts / f"{LAST}.pt", _timeless_checkpoint(training))
    rows = [{"epoch": r.epoch, "step": r.step, **r.metrics()} for r in training.history]
    _write_csv(artifacts / "history.csv", rows)
    clock = ("epoch", "step", "seconds", "images_per_second", "finished_at")
    times = [{name: getattr(r, name) for name in clock} for r in training.history]
    _write_csv(artifacts / "timing.csv", times)
    rates = [{"epoch": r.epoch, **_rates(r)} for r in training.history]
    _write_csv(artifacts / "latent_rates.csv", rates)
    write_reports(artifacts / REPORTS, map(timeless, training.history))
    write_json(metrics, summary(training))


def _rates(report: EpochReport) -> dict[str, float]:
    return {f"z{index}": rate for index, rate in enumerate(report.posterior_stats.rate_by_latent)}


def timeless(report: EpochReport) -> EpochReport:
    """Return a report without clock readings: the same training writes the same bytes."""
    return replace(report, seconds=0.0, images_per_second=0.0, finished_at=0)


def _timeless_checkpoint(training: Training) -> Checkpoint:
    history = [asdict(timeless(report)) for report in training.history]
    return replace(training.checkpoint(), history=history)


def summary(training: Training) -> dict[str, Any]:
    """Return the numbers of the best epoch, in nats per image."""
    best = training.best
    return {
        "best_epoch": best.epoch,
        "epochs": training.history[-1].epoch,
        "stopped_early": training.stopped_early,
        "precision": name_of(training.learner.terms),
        "compiled": is_step_compiled(training),
        "parameters": sum(math.prod(p.shape) for p in training.learner.model.parameters()),
        "train": best.train.metrics(),
        "validation": best.validation.metrics() | best.posterior_stats.metrics(),
    }


def is_step_compiled(training: Training) -> bool:
    """Return whether a compiled graph takes its steps (took them, or would take them)."""
    step = training.learner.step
    return isinstance(step, CompiledStep) and step.failure is None


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    write_csv(path, rows[0], ([row[name] for name in rows[0]] for row in rows))


def describe(training: Training) -> str:
    """Describe the outcome in words; nats per image."""
    best, last = training.best, training.history[-1]
    v = best.validation
    precision = f"in {name_of(training.learner.terms)}"
    if is_step_compiled(training):
        precision += ", compiled"
    if training.learner.threads == 1:
        precision += ", on one thread"
    ended = "stopped early" if training.stopped_early else "ran its course"
    lines = [
        f"{ended} after {last.epoch} epochs; best epoch {best.epoch}: validation "
        f"D {v.distortion:.2f}, R {v.rate:.2f}, negative ELBO {v.negative_elbo:.2f} nats per image "
        f"(trained with α = {v.alpha:g}, β = {v.beta:g}, {precision})"
    ]
    lines.append(describe_verdicts(training.verdicts))
    caution = training.learner.model.likelihood.caution(binarised=training.is_binarised)
    return "\n".join([*lines, *([f"note: {caution}"] if caution else [])])
