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
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from vaebalance.balances import AbstractBalance, State
from vaebalance.data import to_pixels
from vaebalance.elbo import ElboTerms, Weights, elbo_terms, weighted_loss, weighted_terms
from vaebalance.errors import UserError
from vaebalance.model import VAE
from vaebalance.randomness import derive_seed, forked
from vaebalance.specs import Spec

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
    """Epochs without a better validation negative ELBO (α = β = 1) before stopping; null: never.
    Epochs in which the balance's schedule runs, or its controller is off its target, don't count.
    """
    checkpoint_every: int = Field(ge=1)
    """Epochs between checkpoints, from which a killed training resumes exactly."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """auto: cuda, else mps, else cpu."""


class NonFiniteError(UserError):
    """A term of the loss became NaN or infinite."""


class NonFiniteBatch(Exception):  # noqa: N818 - caught by `train`, which knows the epoch
    """A batch (counted from 1 within its epoch) whose `term` is NaN or infinite."""

    def __init__(self, batch: int, term: str) -> None:
        super().__init__(f"{term}, batch {batch}")
        self.batch = batch
        self.term = term


@dataclass
class Learner:
    """What learns, and exactly what a checkpoint holds."""

    model: VAE
    optimizer: torch.optim.Optimizer
    balance: AbstractBalance
    balance_state: State

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.prior_mean.device


@dataclass(frozen=True)
class Images:
    """Stored images and how they become pixels."""

    stored: Tensor  # [N, C, H, W] uint8
    binarisation: str

    def __len__(self) -> int:
        return self.stored.shape[0]

    def pixels(self, indices: Tensor | slice, device: torch.device) -> Tensor:
        """[B, C, H, W] float in [0, 1] on `device`; dynamic binarisation draws anew."""
        return to_pixels(self.stored[indices].to(device, non_blocking=True), self.binarisation)


@dataclass(frozen=True)
class SplitReport:
    """Means over a split; nats per image."""

    distortion: float
    rate: float
    weighted_distortion: float
    weighted_rate: float
    weighted_loss: float
    negative_elbo: float
    alpha: float
    beta: float


@dataclass(frozen=True)
class EpochReport:
    """What an epoch did."""

    epoch: int  # from 1
    step: int  # optimizer updates so far
    train: SplitReport
    validation: SplitReport
    learning_rate: float
    gradient_norm_distortion: float  # of α·D, on one validation batch
    gradient_norm_rate: float  # of β·R, on the same batch
    seconds: float  # of the epoch's training steps
    images_per_second: float
    finished_at: int  # Unix time in ms
    settled: bool = True  # the balance's schedule is over, or its controller holds its target

    def metrics(self) -> dict[str, float]:
        """The deterministic numbers under their names in MLflow and in history.csv."""
        return {
            **{f"train/{name}": value for name, value in asdict(self.train).items()},
            **{f"validation/{name}": value for name, value in asdict(self.validation).items()},
            "learning_rate": self.learning_rate,
            "gradient_norm/distortion": self.gradient_norm_distortion,
            "gradient_norm/rate": self.gradient_norm_rate,
            "settled": float(self.settled),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EpochReport:
        """The inverse of `dataclasses.asdict`."""
        splits = {name: SplitReport(**values[name]) for name in ("train", "validation")}
        return cls(**{**values, **splits})


@dataclass(frozen=True)
class Pulse:
    """A sign of life within an epoch, at most two a second."""

    epoch: int
    batch: int  # batches done in this epoch
    batches: int  # batches in an epoch
    train: SplitReport  # means so far in this epoch
    images_per_second: float


class Tally:
    """Sums over a split, kept on the device and read seldom."""

    def __init__(self, model: VAE) -> None:
        self._likelihood = model.likelihood
        self._dimensions = math.prod(model.image_shape)
        self._pending: list[Tensor] = []  # of [5], a batch each: see `add`
        self._sums = torch.zeros(5, dtype=torch.float64)
        self._alpha: float | Tensor = 0.0
        self._beta: float | Tensor = 0.0
        self._images = 0
        self._batches = 0

    def add(self, terms: ElboTerms, weights: Weights) -> None:
        """Take a batch's detached terms and the weights used on it."""
        images = len(terms.distortion)
        weighted_distortion, weighted_rate = weighted_terms(terms, weights)
        self._pending.append(
            torch.stack(
                [
                    terms.distortion.sum(),
                    terms.distortion.square().sum(),
                    terms.rate.sum(),
                    images * weighted_distortion,
                    images * weighted_rate,
                ]
            )
        )
        self._alpha = self._alpha + images * weights.alpha
        self._beta = self._beta + images * _mean(weights.beta)
        self._images += images

    def read(self) -> SplitReport:
        """The means over the images added so far; waits for the device.

        Raises:
            NonFiniteBatch: a batch since the last reading had a NaN or an infinity.
        """
        if self._pending:
            rows = torch.stack(self._pending).cpu().double()  # [batches, 5]
            self._refuse_non_finite(rows)
            self._sums += rows.sum(0)
            self._batches += len(self._pending)
            self._pending.clear()
        means = (self._sums / self._images).tolist()
        distortion, mean_square, rate, weighted_distortion, weighted_rate = means
        nats = self._likelihood.distortion_in_nats(distortion, mean_square, self._dimensions)
        return SplitReport(
            distortion=distortion,
            rate=rate,
            weighted_distortion=weighted_distortion,
            weighted_rate=weighted_rate,
            weighted_loss=weighted_distortion + weighted_rate,
            negative_elbo=nats + rate,
            alpha=float(self._alpha) / self._images,
            beta=float(self._beta) / self._images,
        )

    def _refuse_non_finite(self, rows: Tensor) -> None:
        bad = ~rows.isfinite()
        if not bad.any():
            return
        batch = int(bad.any(1).int().argmax())
        names = ("distortion", "distortion", "rate", "weighted distortion", "weighted rate")
        raise NonFiniteBatch(self._batches + batch + 1, names[int(bad[batch].int().argmax())])


def _mean(weight: float | Tensor) -> float | Tensor:
    return weight.mean() if isinstance(weight, Tensor) else weight


def train_step(
    learner: Learner, x: Tensor, gradient_clip: float | None
) -> tuple[ElboTerms, Weights]:
    """One optimizer update on x [B, C, H, W]; the detached terms and the weights that were used."""
    terms = elbo_terms(learner.model, x)
    measured = terms.detach()
    weights = learner.balance.weights(learner.balance_state, measured)
    learner.optimizer.zero_grad(set_to_none=True)
    weighted_loss(terms, weights).backward()
    if gradient_clip is not None:
        clip_grad_norm_(learner.model.parameters(), gradient_clip)
    learner.optimizer.step()
    learner.balance_state = learner.balance.next_state(learner.balance_state, measured)
    return measured, weights


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
) -> Iterator[Pulse | EpochReport]:
    """Train for the epochs after `epochs_done`, yielding a report after each.

    Raises:
        NonFiniteError: a term became NaN or infinite; names epoch, step and term.
    """
    batches = steps_per_epoch(len(images), spec)
    for epoch in range(epochs_done + 1, spec.epochs + 1):
        step = (epoch - 1) * batches
        try:
            train_report, seconds = yield from _train_epoch(learner, images, spec, seed, epoch)
            step = epoch * batches
            norms = gradient_norms(learner, validation, seed)
            if not all(map(math.isfinite, norms)):
                raise NonFiniteBatch(0, "gradient")
            validation_report = validate(learner, validation, seed)
        except NonFiniteBatch as bad:
            where = step + bad.batch if step < epoch * batches else step
            raise NonFiniteError(
                f"the {bad.term} is NaN or infinite at epoch {epoch}, step {where}. Lower "
                "train.learning_rate, set train.gradient_clip, or bring the weights in balance "
                "nearer to each other. What was saved after earlier epochs is kept."
            ) from bad
        yield EpochReport(
            epoch=epoch,
            step=step,
            train=train_report,
            validation=validation_report,
            learning_rate=learner.optimizer.param_groups[0]["lr"],
            gradient_norm_distortion=norms[0],
            gradient_norm_rate=norms[1],
            seconds=seconds,
            images_per_second=len(images) / seconds,
            finished_at=int(time.time() * 1000),
            settled=bool(learner.balance.settled(learner.balance_state)),
        )


def _train_epoch(
    learner: Learner, images: Images, spec: TrainSpec, seed: int, epoch: int
) -> Generator[Pulse, None, tuple[SplitReport, float]]:
    """One pass over the images; returns its means and the seconds it took."""
    torch.manual_seed(derive_seed(seed, "epoch", epoch))
    batches = torch.randperm(len(images)).split(spec.batch_size)
    tally = Tally(learner.model)
    learner.model.train()
    started = last_pulse = time.perf_counter()
    for batch, indices in enumerate(batches, start=1):
        x = images.pixels(indices, learner.device)
        tally.add(*train_step(learner, x, spec.gradient_clip))
        if time.perf_counter() - last_pulse > PULSE_SECONDS:
            report = tally.read()
            last_pulse = time.perf_counter()
            speed = batch * spec.batch_size / (last_pulse - started)
            yield Pulse(epoch, batch, len(batches), report, speed)
    report = tally.read()
    return report, time.perf_counter() - started


@torch.no_grad()
def validate(learner: Learner, images: Images, seed: int) -> SplitReport:
    """The split's means with the weights of the next step; the same noise at every epoch."""
    tally = Tally(learner.model)
    learner.model.eval()
    with forked(derive_seed(seed, "validation")):
        for start in range(0, len(images), MEASURING_BATCH):
            x = images.pixels(slice(start, start + MEASURING_BATCH), learner.device)
            terms = elbo_terms(learner.model, x)
            tally.add(terms, learner.balance.weights(learner.balance_state, terms))
    return tally.read()


def gradient_norms(learner: Learner, images: Images, seed: int) -> tuple[float, float]:
    """(‖∇ α·D‖, ‖∇ β·R‖) over all parameters, on the first images of a split."""
    learner.model.eval()  # measuring must not move what a likelihood keeps of training batches
    parameters = list(learner.model.parameters())
    with forked(derive_seed(seed, "gradient norms")):
        x = images.pixels(slice(0, MEASURING_BATCH), learner.device)
        terms = elbo_terms(learner.model, x)
    weights = learner.balance.weights(learner.balance_state, terms.detach())
    norms = []
    for term in weighted_terms(terms, weights):
        if not term.requires_grad:  # the autoencoder's rate
            norms.append(0.0)
            continue
        gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        squares = [g.square().sum() for g in gradients if g is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))
    return norms[0], norms[1]
