"""The epoch loop, `run_epochs`: a generator of reports. The caller decides what to do with them.

Early stopping is `break` and pruning is `raise` in the caller's loop. MLflow, the progress line and
checkpoints consume reports. There are no callbacks.

The random state of an epoch is derived from (seed, epoch), so a training that resumes at the end of
an epoch draws the same random numbers as one that was never interrupted. A caller that draws from
torch's generators at a `StepReport`, within an epoch, must fork them (`seeds.forked`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple, Protocol, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from vaebalance.base.devices import on_threads
from vaebalance.base.errors import UserError
from vaebalance.base.reports import (
    EpochReport,
    GradientNorms,
    PosteriorStats,
    SplitReport,
    StepReport,
)
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.base.specs import Spec
from vaebalance.training.graph_steps import CompiledStep, RecordedStep
from vaebalance.training.loader import Images
from vaebalance.training.precision import Compile, Precision, is_compiled
from vaebalance.training.running_means import (
    NonFiniteBatch,
    RunningMeans,
    posterior_stats,
    posterior_sums,
)
from vaebalance.training.step import Learner, Step, penalty_components
from vaebalance.vae.elbo import elbo_terms, rate_by_latent, weighted_terms

STEP_REPORT_SECONDS = 0.5
"""Minimum time between two `StepReport`s."""

MEASURING_BATCH = 1000
"""Batch size of the measurements after an epoch."""

ADVICE = "bring the weights in balance nearer to each other"
"""Advice on a non-finite loss of a training with one balance."""

Batch = TypeVar("Batch")
Report = TypeVar("Report")
Report_co = TypeVar("Report_co", covariant=True)


class TrainSpec(Spec):
    """The `train` section of params.yaml."""

    epochs: int = Field(ge=1)
    """Passes over the training images, at most."""
    batch_size: int = Field(ge=1)
    """Images per step."""
    learning_rate: float = Field(gt=0)
    """Adam's step size."""
    gradient_clip: float | None = Field(gt=0)
    """Largest norm of the whole gradient; null: no clipping."""
    patience: int | None = Field(ge=1)
    """Epochs without a better validation weighted loss before stopping; null: never.
    Epochs in which the balance's schedule runs, or its controller is off its target, don't count.
    """
    checkpoint_every: int = Field(ge=1)
    """Epochs between checkpoints, from which a killed training resumes exactly. Checkpoints are at
    least one second apart."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """auto: cuda, else mps, else cpu."""
    precision: Precision
    """Precision of the networks' matrix products in training. auto: bf16 if the hardware supports
    it and the step is large enough to benefit."""
    compile: Compile
    """Whether to compile the training step. auto: if there are enough steps to repay it. off:
    neither compile the step nor record it as a CUDA graph."""


class NonFiniteError(UserError):
    """Error of a training in which a term of the loss became NaN or infinite."""


def make_step(learner: Learner, images: Images, spec: TrainSpec, steps: int) -> Step:
    """Return a compiled, recorded or plain step, whichever suits a training of `steps` steps."""
    clip = spec.gradient_clip
    if not is_compiled(spec.compile, learner.model, steps):
        recorded = learner.device.type == "cuda" and spec.compile != "off"
        return (RecordedStep if recorded else Step)(learner, images, clip)
    # torch looks up the KL divergence of two types at the first call, which it cannot trace.
    model = learner.model
    features = model.prior_mean.new_zeros(1, 2 * model.latent_size)
    rate_by_latent(model.posterior(features), model.prior)
    return CompiledStep(learner, images, clip)


def steps_per_epoch(images: int, spec: TrainSpec) -> int:
    """Return the number of steps in an epoch of `images`; the last batch may be smaller."""
    return -(-images // spec.batch_size)


class Trainee(Protocol[Batch, Report_co]):
    """What `run_epochs` trains: one learner, a stack of several, or the models of a curve."""

    @property
    def planned_epochs(self) -> int:
        """Number of epochs if nothing stops the training early."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in an epoch."""

    @property
    def images_per_epoch(self) -> int:
        """Number of training images in an epoch."""

    @property
    def threads(self) -> int | None:
        """Number of CPU threads; None: all."""

    @property
    def advice(self) -> str:
        """Advice on a non-finite loss, besides the learning rate and clipping."""

    def seed_of(self, epoch: int) -> int:
        """Return the seed of an epoch's random numbers."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Begin an epoch and iterate over its batches."""

    def step(self, batch: Batch) -> None:
        """Take an optimizer step on a batch."""

    def means(self) -> SplitReport | None:
        """Wait for the device and return the means over the epoch so far.

        None: several models are trained; only `report` has their means.

        Raises:
            NonFiniteBatch: a term became NaN or infinite.
        """

    def report(self, epoch: int, seconds: float) -> Report_co:
        """Measure the models after an epoch whose steps took `seconds`.

        Raises:
            NonFiniteBatch: a number is NaN or infinite.
        """


def run_epochs(
    trainee: Trainee[Batch, Report], epochs_done: int = 0
) -> Generator[StepReport | Report]:
    """Train the epochs after `epochs_done` and yield a report after each.

    Within an epoch, yield a `StepReport` at most twice a second.

    Raises:
        NonFiniteError: a term became NaN or infinite; the message names epoch, step and term.
    """
    return on_threads(trainee.threads, _run_epochs(trainee, epochs_done))


def _run_epochs(
    trainee: Trainee[Batch, Report], epochs_done: int
) -> Generator[StepReport | Report]:
    for epoch in range(epochs_done + 1, trainee.planned_epochs + 1):
        last = epoch * trainee.steps_per_epoch
        try:
            seconds = yield from _run_steps(trainee, epoch)
        except NonFiniteBatch as bad:
            step = last - trainee.steps_per_epoch + bad.batch
            raise non_finite(bad, epoch, step, trainee.advice) from bad
        try:
            report = trainee.report(epoch, seconds)
        except NonFiniteBatch as bad:
            raise non_finite(bad, epoch, last, trainee.advice) from bad
        yield report


def _run_steps(trainee: Trainee[Batch, Report], epoch: int) -> Generator[StepReport, None, float]:
    """Train one epoch and return its duration in seconds."""
    started = last_report = time.perf_counter()
    with forked(trainee.seed_of(epoch)):
        for number, batch in enumerate(trainee.batches(epoch), start=1):
            trainee.step(batch)
            if time.perf_counter() - last_report > STEP_REPORT_SECONDS:
                means = trainee.means()
                last_report = time.perf_counter()
                speed = trainee.images_per_epoch * number / trainee.steps_per_epoch
                speed /= last_report - started
                if means is not None:
                    yield StepReport(epoch, number, trainee.steps_per_epoch, means, speed)
        trainee.means()
    return time.perf_counter() - started


def train(
    learner: Learner,
    images: Images,
    validation: Images,
    spec: TrainSpec,
    seed: int,
    epochs_done: int = 0,
) -> Generator[StepReport | EpochReport]:
    """Train one learner: see `run_epochs`."""
    return run_epochs(_LearnerTraining(learner, images, validation, spec, seed), epochs_done)


class _LearnerTraining:
    """One learner as a `Trainee`, validated after each epoch."""

    advice = ADVICE

    def __init__(
        self, learner: Learner, images: Images, validation: Images, spec: TrainSpec, seed: int
    ) -> None:
        self._learner, self._spec, self._seed = learner, spec, seed
        self._images = images.to(learner.device)
        self._validation = validation.to(learner.device)
        self.planned_epochs = spec.epochs
        self.images_per_epoch = len(images)
        self.steps_per_epoch = steps_per_epoch(len(images), spec)
        self.threads = learner.threads
        self._means = RunningMeans(learner.model, learner.penalty)
        if learner.step is None:
            steps = self.steps_per_epoch * spec.epochs
            learner.step = make_step(learner, self._images, spec, steps)

    def seed_of(self, epoch: int) -> int:
        return derive_seed(self._seed, "epoch", epoch)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        self._means = RunningMeans(self._learner.model, self._learner.penalty)
        self._learner.model.train()
        return self._images.shuffled(self._spec.batch_size, self._learner.device)

    def step(self, batch: Tensor) -> None:
        result = self._learner.take_step(batch)
        self._means.add_row(result.sums, len(batch), result.weights)

    def means(self) -> SplitReport:
        return self._means.read()

    def report(self, epoch: int, seconds: float) -> EpochReport:
        learner, split = self._learner, (self._validation, self._spec, self._seed)
        norms = gradient_norms(learner, *split)
        refuse_non_finite(norms)
        measured = Measured(self._means.read(), *validate(learner, *split), norms)
        step = epoch * self.steps_per_epoch
        return make_report(learner, measured, epoch, step, seconds, self.images_per_epoch)


class Measured(NamedTuple):
    """Measurements of an epoch."""

    train: SplitReport
    validation: SplitReport
    posterior_stats: PosteriorStats
    gradient_norms: GradientNorms


def make_report(
    learner: Learner, measured: Measured, epoch: int, step: int, seconds: float, images: int
) -> EpochReport:
    """Return the report of the epoch that just ended, whose steps on `images` took `seconds`."""
    return EpochReport(
        epoch=epoch,
        step=step,
        **measured._asdict(),
        learning_rate=learner.optimizer.param_groups[0]["lr"],
        seconds=seconds,
        images_per_second=images / seconds,
        finished_at=int(time.time() * 1000),
        settled=bool(learner.balance.settled(learner.balance_state)),
        finding=learner.balance.finding(learner.balance_state, measured.train),
    )


def non_finite(bad: NonFiniteBatch, epoch: int, step: int, advice: str) -> NonFiniteError:
    """Return an error that names the epoch and step at which a term became NaN or infinite."""
    return NonFiniteError(
        f"the {bad.term} is NaN or infinite at epoch {epoch}, step {step}. Lower "
        f"train.learning_rate, set train.gradient_clip, or {advice}. What was saved after earlier "
        "epochs is kept."
    )


def refuse_non_finite(norms: GradientNorms) -> None:
    """Check that the gradient norms are finite.

    Raises:
        NonFiniteBatch: a norm is NaN or infinite.
    """
    if not all(map(math.isfinite, norms.metrics().values())):
        raise NonFiniteBatch(0, "gradient")


@torch.no_grad()
def validate(
    learner: Learner, images: Images, spec: TrainSpec, seed: int
) -> tuple[SplitReport, PosteriorStats]:
    """Measure a split with the weights of the next step, and the same noise at every epoch."""
    means = RunningMeans(learner.model, learner.penalty)
    is_density = learner.model.likelihood.is_density
    sums = torch.zeros(2 + 2 * learner.model.latent_size, dtype=torch.float64)
    learner.model.eval()
    size = measuring_batch(learner, spec)
    with forked(derive_seed(seed, "validation")):
        for start in range(0, len(images), size):
            x = images.pixels(slice(start, start + size), learner.device)
            terms = elbo_terms(learner.model, x)
            weights = learner.balance.weights(learner.balance_state, terms)
            means.add(terms, weights, penalty_components(learner, terms, len(images)))
            sums += posterior_sums(terms, is_density=is_density)
    return means.read(), posterior_stats(sums, len(images), is_density=is_density)


def gradient_norms(learner: Learner, images: Images, spec: TrainSpec, seed: int) -> GradientNorms:
    """Compute ‖∇ α·D‖, ‖∇ β·R‖ and the norm of the penalty's gradient over all parameters.

    They are those of one batch: the first images of the split.
    """
    learner.model.eval()  # measuring must not update a likelihood's running statistics
    with forked(derive_seed(seed, "gradient norms")):
        x = images.pixels(slice(0, measuring_batch(learner, spec)), learner.device)
        terms = elbo_terms(learner.model, x)
        components = penalty_components(learner, terms, len(images))
    weights = learner.balance.weights(learner.balance_state, terms.detach())
    distortion, rate = (_norm(learner, term) for term in weighted_terms(terms, weights))
    penalty = _norm(learner, learner.penalty.weighted(components)) if components else None
    return GradientNorms(distortion, rate, penalty)


def measuring_batch(learner: Learner, spec: TrainSpec) -> int:
    """Return the batch size of measurements: that of training if a penalty may depend on it."""
    return spec.batch_size if learner.penalty.coefficients() else MEASURING_BATCH


def _norm(learner: Learner, term: Tensor | float) -> float:
    """Return the norm of the gradient of a part of the loss and keep the graph."""
    if not isinstance(term, Tensor) or not term.requires_grad:  # the rate of an autoencoder
        return 0.0
    parameters = list(learner.model.parameters())
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    squares = [g.square().sum() for g in gradients if g is not None]
    return float(torch.stack(squares).sum().sqrt())
