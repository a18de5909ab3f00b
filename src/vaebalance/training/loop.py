"""The training step, and `train`: a generator of reports. The caller decides what becomes of them.

Early stopping is `break`, pruning is a `raise` in the loop body; MLflow, progress line and
checkpoint consume reports. There is no callback and no trainer.

Randomness is derived from (seed, epoch), so that a training resumed at an epoch's end draws what
one never interrupted draws. Between reports a consumer must not draw from torch's generators
without forking them (`randomness.forked`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from vaebalance.balancing import AbstractBalance, State
from vaebalance.balancing.penalties import AbstractPenalty, Codes, Components, NoPenalty
from vaebalance.base.devices import on_threads
from vaebalance.base.errors import UserError
from vaebalance.base.reports import EpochReport, GradientNorms, PosteriorStats, Pulse, SplitReport
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.base.specs import Spec
from vaebalance.data import to_pixels
from vaebalance.training.loader import Images
from vaebalance.training.precision import Compile, Precision, Terms, is_compiled
from vaebalance.training.running_means import (
    NonFiniteBatch,
    Tally,
    batch_sums,
    posterior_stats,
    posterior_sums,
)
from vaebalance.training.step import CompiledUpdate, Objective, RecordedUpdate, Update
from vaebalance.vae.elbo import (
    ElboTerms,
    Weights,
    elbo_terms,
    rate_by_latent,
    weighted_loss,
    weighted_terms,
)
from vaebalance.vae.model import VAE

PULSE_SECONDS = 0.5
MEASURING_BATCH = 1000


class TrainSpec(Spec):
    """The `train` section of params.yaml."""

    epochs: int = Field(ge=1)
    """Passes over the training images, at most."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    learning_rate: float = Field(gt=0)
    """Adam's step size."""
    gradient_clip: float | None = Field(gt=0)
    """Largest norm of the whole gradient; null: no clipping."""
    patience: int | None = Field(ge=1)
    """Epochs without a better validation weighted loss before stopping; null: never.
    Epochs in which the balance's schedule runs, or its controller is off its target, don't count.
    """
    checkpoint_every: int = Field(ge=1)
    """Epochs between checkpoints, from which a killed training resumes exactly; a second at least
    lies between two."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """auto: cuda, else mps, else cpu."""
    precision: Precision
    """Of the networks' products in training; auto: bf16 where hardware has it and it pays."""
    compile: Compile
    """Whether the training step is compiled; auto: where there are steps enough to pay for it.
    Where it is not, it is recorded on a CUDA device, but with off."""


class NonFiniteError(UserError):
    """A term of the loss became NaN or infinite."""


@dataclass
class Learner:
    """What learns. A checkpoint holds what of it has a state: not `terms`, `update`, `threads`."""

    model: VAE
    optimizer: torch.optim.Optimizer
    balance: AbstractBalance
    balance_state: State
    penalty: AbstractPenalty = field(default_factory=NoPenalty)
    terms: Terms = elbo_terms
    """How those of a training batch are computed: see `arithmetic`."""
    update: Update | None = None
    """What takes its steps; None: `train` makes it."""
    threads: int | None = None
    """Of the processor, that it is trained on; None: all."""

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.prior_mean.device


class Step(NamedTuple):
    """What one update tells of its batch."""

    sums: Tensor  # [5 + components]: see `tally.batch_sums`
    weights: Weights  # that were used
    state: State  # of the balance, after it


def train_step(learner: Learner, batch: Tensor) -> Step:
    """One optimizer update on a batch, as `Images.batches` gives it, by the learner's `update`."""
    assert learner.update is not None  # see `make_update`
    step: Step = learner.update(batch, learner.balance_state)
    learner.balance_state = step.state
    return step


def make_update(learner: Learner, images: Images, spec: TrainSpec, steps: int) -> Update:
    """What takes the learner's steps, of which so many are planned, on batches of `images`."""
    objective = on_batches(step_objective(learner, len(images)), images)
    return choose_update(objective, learner.model, learner.optimizer, spec, steps)


def on_batches(objective: Objective, images: Images) -> Objective:
    """An objective of pixels as one of `images.batches`: to draw them is part of the step."""

    def measure(batch: Tensor, *others: Any) -> tuple[Tensor, Any]:
        return objective(to_pixels(images.read(batch), images.binarisation), *others)

    return measure


def choose_update(
    objective: Objective, vae: VAE, optimizer: torch.optim.Optimizer, spec: TrainSpec, steps: int
) -> Update:
    """Compiled or not, for an objective that measures `vae` and so many steps."""
    if not is_compiled(spec.compile, vae, steps):
        recorded = vae.prior_mean.is_cuda and spec.compile != "off"
        kind = RecordedUpdate if recorded else Update
        return kind(objective, optimizer, spec.gradient_clip)
    # torch looks up once how two types diverge, which its compiler cannot trace.
    features = vae.prior_mean.new_zeros(1, 2 * vae.latent_size)
    rate_by_latent(vae.posterior(features), vae.prior)
    return CompiledUpdate(objective, optimizer, spec.gradient_clip)


def step_objective(learner: Learner, images: int) -> Objective:
    """What a learner minimises: pixels and its balance's state -> the loss [], and its `Step`."""

    def objective(x: Tensor, state: State) -> tuple[Tensor, Step]:
        terms = learner.terms(learner.model, x)
        measured = terms.detach()
        weights = learner.balance.weights(state, measured)
        components = penalty_components(learner, terms, images)
        loss = weighted_loss(terms, weights) + learner.penalty.weighted(components)
        after = learner.balance.next_state(state, measured)
        return loss, Step(batch_sums(measured, weights, components), weights, after)

    return objective


def penalty_components(learner: Learner, terms: ElboTerms, images: int) -> Components:
    """What the learner's penalty measures of a batch, [] each."""
    assert terms.posterior is not None  # `elbo_terms` gives both
    assert terms.z is not None
    return learner.penalty.measure(Codes(terms.posterior, terms.z, learner.model.prior, images))


def steps_per_epoch(images: int, spec: TrainSpec) -> int:
    """Optimizer updates in a pass over so many images; the last batch may be smaller."""
    return -(-images // spec.batch_size)


def train(
    learner: Learner,
    images: Images,
    validation: Images,
    spec: TrainSpec,
    seed: int,
    epochs_done: int = 0,
) -> Generator[Pulse | EpochReport]:
    """Train for the epochs after `epochs_done`, yielding a report after each.

    Raises:
        NonFiniteError: a term became NaN or infinite; names epoch, step and term.
    """
    reports = _train(learner, images, validation, spec, seed, epochs_done)
    return on_threads(learner.threads, reports)


def _train(
    learner: Learner,
    images: Images,
    validation: Images,
    spec: TrainSpec,
    seed: int,
    epochs_done: int,
) -> Generator[Pulse | EpochReport]:
    batches = steps_per_epoch(len(images), spec)
    images, validation = images.near(learner.device), validation.near(learner.device)
    if learner.update is None:
        learner.update = make_update(learner, images, spec, batches * spec.epochs)
    for epoch in range(epochs_done + 1, spec.epochs + 1):
        try:
            trained, seconds = yield from _train_epoch(learner, images, spec, seed, epoch)
        except NonFiniteBatch as bad:
            raise non_finite(bad, epoch, (epoch - 1) * batches + bad.batch) from bad
        try:
            norms = gradient_norms(learner, validation, spec, seed)
            refuse_non_finite(norms)
            validated, stats = validate(learner, validation, spec, seed)
        except NonFiniteBatch as bad:
            raise non_finite(bad, epoch, epoch * batches) from bad
        measured = Measured(trained, validated, stats, norms)
        yield make_report(learner, measured, epoch, epoch * batches, seconds, len(images))


class Measured(NamedTuple):
    """What was measured of an epoch."""

    train: SplitReport
    validation: SplitReport
    posterior_stats: PosteriorStats
    gradient_norms: GradientNorms


def make_report(
    learner: Learner, measured: Measured, epoch: int, step: int, seconds: float, images: int
) -> EpochReport:
    """The report of an epoch that has just ended, whose steps on so many images took `seconds`."""
    return EpochReport(
        epoch=epoch,
        step=step,
        **measured._asdict(),
        learning_rate=learner.optimizer.param_groups[0]["lr"],
        seconds=seconds,
        images_per_second=images / seconds,
        finished_at=int(time.time() * 1000),
        settled=bool(learner.balance.settled(learner.balance_state)),
        obstacle=learner.balance.obstacle(learner.balance_state, measured.train),
    )


def non_finite(bad: NonFiniteBatch, epoch: int, step: int) -> NonFiniteError:
    """What to tell of a bad batch."""
    return NonFiniteError(
        f"the {bad.term} is NaN or infinite at epoch {epoch}, step {step}. Lower "
        "train.learning_rate, set train.gradient_clip, or bring the weights in balance "
        "nearer to each other. What was saved after earlier epochs is kept."
    )


def refuse_non_finite(norms: GradientNorms) -> None:
    """Check the norms.

    Raises:
        NonFiniteBatch: one is NaN or infinite.
    """
    if not all(map(math.isfinite, norms.metrics().values())):
        raise NonFiniteBatch(0, "gradient")


def _train_epoch(
    learner: Learner, images: Images, spec: TrainSpec, seed: int, epoch: int
) -> Generator[Pulse, None, tuple[SplitReport, float]]:
    """One pass over the images; returns its means and the seconds it took."""
    torch.manual_seed(derive_seed(seed, "epoch", epoch))
    order = torch.randperm(len(images))
    tally = Tally(learner.model, learner.penalty)
    learner.model.train()
    started = last_pulse = time.perf_counter()
    batches = images.batches(order, spec.batch_size, learner.device)
    for number, batch in enumerate(batches, start=1):
        step = train_step(learner, batch)
        tally.add_row(step.sums, len(batch), step.weights)
        if time.perf_counter() - last_pulse > PULSE_SECONDS:
            report = tally.read()
            last_pulse = time.perf_counter()
            speed = number * spec.batch_size / (last_pulse - started)
            yield Pulse(epoch, number, steps_per_epoch(len(images), spec), report, speed)
    report = tally.read()
    return report, time.perf_counter() - started


@torch.no_grad()
def validate(
    learner: Learner, images: Images, spec: TrainSpec, seed: int
) -> tuple[SplitReport, PosteriorStats]:
    """The split's means with the weights of the next step; the same noise at every epoch."""
    tally = Tally(learner.model, learner.penalty)
    is_density = learner.model.likelihood.is_density
    sums = torch.zeros(2 + 2 * learner.model.latent_size, dtype=torch.float64)
    learner.model.eval()
    size = measuring_batch(learner, spec)
    with forked(derive_seed(seed, "validation")):
        for start in range(0, len(images), size):
            x = images.pixels(slice(start, start + size), learner.device)
            terms = elbo_terms(learner.model, x)
            weights = learner.balance.weights(learner.balance_state, terms)
            tally.add(terms, weights, penalty_components(learner, terms, len(images)))
            sums += posterior_sums(terms, is_density=is_density)
    return tally.read(), posterior_stats(sums, len(images), is_density=is_density)


def gradient_norms(learner: Learner, images: Images, spec: TrainSpec, seed: int) -> GradientNorms:
    """‖∇ α·D‖, ‖∇ β·R‖ and the penalty's, over all parameters, on a split's first images."""
    learner.model.eval()  # measuring must not move what a likelihood keeps of training batches
    with forked(derive_seed(seed, "gradient norms")):
        x = images.pixels(slice(0, measuring_batch(learner, spec)), learner.device)
        terms = elbo_terms(learner.model, x)
        components = penalty_components(learner, terms, len(images))
    weights = learner.balance.weights(learner.balance_state, terms.detach())
    distortion, rate = (_norm(learner, term) for term in weighted_terms(terms, weights))
    penalty = _norm(learner, learner.penalty.weighted(components)) if components else None
    return GradientNorms(distortion, rate, penalty)


def measuring_batch(learner: Learner, spec: TrainSpec) -> int:
    """Images a batch in measuring: a training batch's where a penalty's components depend on it."""
    return spec.batch_size if learner.penalty.coefficients() else MEASURING_BATCH


def _norm(learner: Learner, term: Tensor | float) -> float:
    """Of the gradient of a part of the loss; the graph is kept."""
    if not isinstance(term, Tensor) or not term.requires_grad:  # the autoencoder's rate
        return 0.0
    parameters = list(learner.model.parameters())
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    squares = [g.square().sum() for g in gradients if g is not None]
    return float(torch.stack(squares).sum().sqrt())
