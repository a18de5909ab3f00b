"""Settings -> learner -> reports: one training, resumable, as the stage and a study run it."""

from __future__ import annotations

import csv
import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vaebalance.balancing import RunFacts
from vaebalance.base.adam import Adam
from vaebalance.base.best_epoch import Candidate, best_epoch
from vaebalance.base.devices import choose_device, start_threads
from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing, write_json
from vaebalance.base.provenance import (
    TRAINING_ROOMS,
    Provenance,
    stage_provenance,
    write_provenance,
)
from vaebalance.base.reports import EpochReport, Pulse
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.base.verdicts import HEALTHY, Verdict, names
from vaebalance.data import Dataset
from vaebalance.evaluation.diagnosis import DiagnosisContext, diagnose, diagnose_so_far
from vaebalance.run.checkpoints import (
    Checkpoint,
    Pace,
    copied,
    learner_state,
    load_checkpoint,
    restore_learner,
    save_checkpoint,
)
from vaebalance.settings import TrainSettings
from vaebalance.training.loader import Images
from vaebalance.training.loop import Learner, make_update, steps_per_epoch, train
from vaebalance.training.precision import choose_threads, make_terms, name_of, work_of
from vaebalance.training.step import CompiledUpdate
from vaebalance.vae.likelihoods import Gaussian
from vaebalance.vae.model import VAE
from vaebalance.vae.saved_model import save_model

EVALUATED = "model"  # the best epoch: see `selection`
LAST = "last"  # the last epoch


def start_learner(settings: TrainSettings, dataset: Dataset) -> Learner:
    """A learner before its first step; its weights depend on the seed and the settings alone."""
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
    """(params.yaml is checked as a whole, but the data may have been prepared by another.)"""
    likelihood, latent_size = settings.likelihood, settings.model.latent_size
    binarised = binarisation != "none"
    misfit = likelihood.misfit(binarisation) or settings.balance.misfit(
        likelihood, latent_size, binarised=binarised
    )
    if misfit:
        raise UserError(f"{misfit}.")


def run_facts(settings: TrainSettings, dataset: Dataset) -> RunFacts:
    """What the balance may know of this run."""
    batches = steps_per_epoch(len(dataset.images("train")), settings.train)
    likelihood = settings.likelihood
    return RunFacts(
        dimensions=math.prod(dataset.info.image_shape),
        latent_size=settings.model.latent_size,
        steps=batches * settings.train.epochs,
        steps_per_epoch=batches,
        sigma=likelihood.sigma if isinstance(likelihood, Gaussian) else None,
    )


class Training:
    """One training. Iterating it yields the reports of all epochs, those before a resume first.

    It stops early, keeps the weights of the best epoch, and, given a `checkpoint` path, writes
    what is needed to go on exactly from there after a kill.
    """

    def __init__(
        self,
        settings: TrainSettings,
        dataset: Dataset,
        fingerprint: str = "",
        checkpoint: Path | None = None,
    ) -> None:
        self.spec = settings.train
        self.seed = settings.seed
        self._fingerprint = fingerprint
        self._path, self._pace = checkpoint, Pace(settings.train.checkpoint_every)
        self.learner = start_learner(settings, dataset)
        self.images = _images(dataset, "train").near(self.learner.device)
        self.validation = _images(dataset, "validation").near(self.learner.device)
        steps = run_facts(settings, dataset).steps
        self.learner.update = make_update(self.learner, self.images, settings.train, steps)
        self.best_weights = copied(self.learner.model.state_dict())
        self.history: list[EpochReport] = []
        self.context = DiagnosisContext(
            balance=settings.balance,
            likelihood=settings.likelihood,
            is_variational=self.learner.model.is_variational,
            dimensions=math.prod(dataset.info.image_shape),
        )
        self._resume()

    def __iter__(self) -> Generator[Pulse | EpochReport]:
        """Reports, old ones first, then new ones as they come."""
        new = train(
            self.learner,
            self.images,
            self.validation,
            self.spec,
            self.seed,
            epochs_done=len(self.history),
        )
        return self.taking(new)

    def taking(
        self, new: Generator[Pulse | EpochReport] | Generator[EpochReport]
    ) -> Generator[Pulse | EpochReport]:
        """Reports, old ones first, then those of `new`, which trains the learner, as they come.

        It is closed at the end, also at an early one, and before the last report is given.
        """
        yield from self.history
        with closing(new):
            for report in () if self.stopped_early else new:
                if isinstance(report, EpochReport):
                    self._take(report)
                if self.stopped_early:
                    new.close()
                yield report

    @property
    def best(self) -> EpochReport:
        """The epoch whose weights are kept."""
        return self.history[best_epoch([_candidate(report) for report in self.history])]

    @property
    def verdicts(self) -> list[Verdict]:
        """What is wrong with the trained model; nothing: it is healthy. Needs an epoch."""
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
        """Of the processor, that it is trained on."""
        return self.learner.threads or torch.get_num_threads()

    @property
    def planned_epochs(self) -> int:
        """Epochs if nothing stops it early."""
        return self.spec.epochs

    @property
    def is_binarised(self) -> bool:
        """Whether the pixels are 0 or 1."""
        return self.images.binarisation != "none"

    def _take(self, report: EpochReport) -> None:
        self.history.append(report)
        if self.best is report:
            self.best_weights = copied(self.learner.model.state_dict())
        finished = report.epoch == self.spec.epochs or self.stopped_early
        if self._path and self._pace.is_due(report.epoch, is_over=finished):
            save_checkpoint(self._path, self.checkpoint())

    def checkpoint(self) -> Checkpoint:
        """The state at the last epoch's end."""
        return Checkpoint(
            self._fingerprint, learner_state(self.learner), self.best_weights, list(self.history)
        )

    def _resume(self) -> None:
        if self._path is None:
            return
        found = load_checkpoint(self._path, self._fingerprint, self.learner.device)
        if found is not None:
            restore_learner(self.learner, found.learner)
            self.best_weights = found.best_weights
            self.history = found.history


def _candidate(report: EpochReport) -> Candidate:
    v = report.validation
    return Candidate(v.weighted_loss, v.negative_elbo, v.alpha, v.beta, report.settled)


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
    """Write what a finished training leaves.

    `model/` (best epoch), `last.pt` (resume state), history.csv, latent_rates.csv, verdicts.json
    (deterministic) and timing.csv (not) below `artifacts`; the best epoch's numbers to `metrics`.
    """
    save_model(artifacts / EVALUATED, training.learner.model, training.best_weights)
    write_provenance(artifacts / EVALUATED, provenance)
    save_checkpoint(artifacts / f"{LAST}.pt", timeless(training.checkpoint()))
    rows = [{"epoch": r.epoch, "step": r.step, **r.metrics()} for r in training.history]
    _write_csv(artifacts / "history.csv", rows)
    clock = ("epoch", "step", "seconds", "images_per_second", "finished_at")
    times = [{name: getattr(r, name) for name in clock} for r in training.history]
    _write_csv(artifacts / "timing.csv", times)
    rates = [{"epoch": r.epoch, **_rates(r)} for r in training.history]
    _write_csv(artifacts / "latent_rates.csv", rates)
    write_json(artifacts / "verdicts.json", [asdict(verdict) for verdict in training.verdicts])
    write_json(metrics, summary(training))


def _rates(report: EpochReport) -> dict[str, float]:
    return {f"z{index}": rate for index, rate in enumerate(report.posterior_stats.rate_by_latent)}


def timeless(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without clock readings: the same training writes the same bytes."""
    history = [
        EpochReport.from_dict(
            asdict(report) | {"seconds": 0.0, "images_per_second": 0.0, "finished_at": 0}
        )
        for report in checkpoint.history
    ]
    return Checkpoint(checkpoint.fingerprint, checkpoint.learner, checkpoint.best_weights, history)


def summary(training: Training) -> dict[str, Any]:
    """The best epoch's numbers; nats per image."""
    best = training.best
    return {
        "best_epoch": best.epoch,
        "epochs": training.history[-1].epoch,
        "stopped_early": training.stopped_early,
        "precision": name_of(training.learner.terms),
        "compiled": is_step_compiled(training),
        "verdict": names(training.verdicts),
        "parameters": sum(math.prod(p.shape) for p in training.learner.model.parameters()),
        "train": best.train.metrics(),
        "validation": best.validation.metrics() | best.posterior_stats.metrics(),
    }


def is_step_compiled(training: Training) -> bool:
    """Whether its steps are (were, or would be) taken by a compiled graph."""
    update = training.learner.update
    return isinstance(update, CompiledUpdate) and update.failure is None


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def describe(training: Training) -> str:
    """The outcome in words; nats per image."""
    best, last = training.best, training.history[-1]
    v = best.validation
    arithmetic = f"in {name_of(training.learner.terms)}"
    if is_step_compiled(training):
        arithmetic += ", compiled"
    if training.learner.threads == 1:
        arithmetic += ", on one thread"
    ended = "stopped early" if training.stopped_early else "ran its course"
    lines = [
        f"{ended} after {last.epoch} epochs; best epoch {best.epoch}: validation "
        f"D {v.distortion:.2f}, R {v.rate:.2f}, negative ELBO {v.negative_elbo:.2f} nats per image "
        f"(trained with α = {v.alpha:g}, β = {v.beta:g}, {arithmetic})"
    ]
    lines += [f"verdict: {verdict}" for verdict in training.verdicts] or [f"verdict: {HEALTHY}"]
    caution = training.learner.model.likelihood.caution(binarised=training.is_binarised)
    return "\n".join([*lines, *([f"note: {caution}"] if caution else [])])
