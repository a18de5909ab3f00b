"""The loop over epochs, `run_epochs`: a generator of reports. The caller decides what to do.

Early stopping is `break`, pruning is a `raise` in the loop body; MLflow, progress line and
checkpoint consume reports. There is no callback and no trainer.

The random numbers of an epoch are derived from (seed, epoch), so that a training that resumes at an
epoch's end draws what one that was never interrupted draws. A consumer that draws from torch's
generators on a `StepReport`, within an epoch, must fork them (`randomness.forked`).
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
"""Between two `StepReport`s, at least."""

MEASURING_BATCH = 1000
"""Images that are measured at once, after an epoch."""

ADVICE = "bring the weights in balance nearer to each other"
"""What else may keep a training of one α and β finite."""

Batch = TypeVar("Batch")
Report = TypeVar("Report")
Report_co = TypeVar("Report_co", covariant=True)


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


def make_step(learner: Learner, images: Images, spec: TrainSpec, steps: int) -> Step:
    """Return the step that suits a training of so many steps: compiled, recorded or neither."""
    clip = spec.gradient_clip
    if not is_compiled(spec.compile, learner.model, steps):
        recorded = learner.device.type == "cuda" and spec.compile != "off"
        return (RecordedStep if recorded else Step)(learner, images, clip)
    # torch looks up once how two types diverge, which its compiler cannot trace.
    model = learner.model
    features = model.prior_mean.new_zeros(1, 2 * model.latent_size)
    rate_by_latent(model.posterior(features), model.prior)
    return CompiledStep(learner, images, clip)


def steps_per_epoch(images: int, spec: TrainSpec) -> int:
    """Return the optimizer updates in an epoch of so many images; the last batch may be smaller."""
    return -(-images // spec.batch_size)


class Trainee(Protocol[Batch, Report_co]):
    """What `run_epochs` trains: one learner, a stack of several, or the models of a curve."""

    @property
    def planned_epochs(self) -> int:
        """Epochs if nothing stops it early."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates in an epoch."""

    @property
    def images_per_epoch(self) -> int:
        """Training images in an epoch."""

    @property
    def threads(self) -> int | None:
        """Threads that it is trained on; None: all."""

    @property
    def advice(self) -> str:
        """What else may keep it finite, besides the learning rate and clipping."""

    def seed_of(self, epoch: int) -> int:
        """Return the seed of an epoch's random numbers."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Begin an epoch, and iterate over its batches."""

    def step(self, batch: Batch) -> None:
        """Take an optimizer step on a batch."""

    def means(self) -> SplitReport | None:
        """Return the means over the epoch so far, after waiting for the device.

        None: it trains several models, whose means only `report` has.

        Raises:
            NonFiniteBatch: a term became NaN or infinite.
        """

    def report(self, epoch: int, seconds: float) -> Report_co:
        """Measure what an epoch's steps, which took so many seconds, have led to.

        Raises:
            NonFiniteBatch: a number is NaN or infinite.
        """


def run_epochs(
    trainee: Trainee[Batch, Report], epochs_done: int = 0
) -> Generator[StepReport | Report]:
    """Train for the epochs after `epochs_done`, yielding a report after each.

    Within an epoch, a `StepReport` is yielded at most twice a second.

    Raises:
        NonFiniteError: a term became NaN or infinite; names epoch, step and term.
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
    """Train for an epoch; return the seconds that it took."""
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
        self._images = images.near(learner.device)
        self._validation = validation.near(learner.device)
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
    """The measurements of an epoch."""

    train: SplitReport
    validation: SplitReport
    posterior_stats: PosteriorStats
    gradient_norms: GradientNorms


def make_report(
    learner: Learner, measured: Measured, epoch: int, step: int, seconds: float, images: int
) -> EpochReport:
    """Return the report of the epoch that has just ended; its steps on `images` took `seconds`."""
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
    """Return the error that names where a training became NaN or infinite."""
    return NonFiniteError(
        f"the {bad.term} is NaN or infinite at epoch {epoch}, step {step}. Lower "
        f"train.learning_rate, set train.gradient_clip, or {advice}. What was saved after earlier "
        "epochs is kept."
    )


def refuse_non_finite(norms: GradientNorms) -> None:
    """Check the norms of the gradients.

    Raises:
        NonFiniteBatch: one is NaN or infinite.
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
    """Compute ‖∇ α·D‖, ‖∇ β·R‖ and the penalty's over all weights, on a split's first images."""
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
    """Return the batch size of measuring: that of training if a penalty may depend on it."""
    return spec.batch_size if learner.penalty.coefficients() else MEASURING_BATCH


def _norm(learner: Learner, term: Tensor | float) -> float:
    """Return the norm of the gradient of a part of the loss; the graph is kept."""
    if not isinstance(term, Tensor) or not term.requires_grad:  # the autoencoder's rate
        return 0.0
    parameters = list(learner.model.parameters())
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    squares = [g.square().sum() for g in gradients if g is not None]
    return float(torch.stack(squares).sum().sqrt())
