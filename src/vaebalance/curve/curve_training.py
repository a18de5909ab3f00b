"""Train a curve by one of two methods: a conditioned model, or a plain model swept through β.

Both are iterated like `training_run.Training`: they yield a report per epoch, and the caller
decides. β is that at α = 1, since only the ratio of the weights matters. The optimizer is Adam with
a cosine learning rate schedule that ends at 0.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaebalance.balancing import AbstractBalance, State
from vaebalance.balancing.penalties import NoPenalty
from vaebalance.base.adam import Adam
from vaebalance.base.devices import choose_device, start_threads
from vaebalance.base.errors import UserError
from vaebalance.base.reports import CurveReport, SplitReport, StepReport
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.curve.curves import AbstractCurve, ConditionedCurve, ContinuationCurve, log_spaced
from vaebalance.data import Dataset
from vaebalance.run.checkpoints import learner_state, restore_learner
from vaebalance.run.resumable import ResumableTraining
from vaebalance.settings import CurveSettings, CurveSpec
from vaebalance.training.loader import Images
from vaebalance.training.loop import make_step, run_epochs, steps_per_epoch
from vaebalance.training.precision import choose_threads, make_terms, work_of
from vaebalance.training.running_means import RunningMeans
from vaebalance.training.step import Learner
from vaebalance.vae.conditioning import ConditionedVAE
from vaebalance.vae.elbo import ElboTerms, EncoderDecoder, Weights
from vaebalance.vae.model import VAE

FIRST_SHARE = 0.5
"""Fraction of a sweep's steps for its least β."""


class ExternalBeta(AbstractBalance):
    """A balance with α = 1 whose β is in its state, where the caller may change it.

    A recorded or compiled step sees the change without a new graph.
    """

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return 1 and the state's β."""
        return Weights(1.0, state["beta"])


class SharedBetas(AbstractBalance):
    """A balance for the β on which each image was conditioned: see `shared_weights`."""

    sharing: float
    """See `CurveSpec`."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α [B] and β [B, 1]."""
        assert terms.betas is not None  # see `ConditionedTraining`
        return shared_weights(terms.betas, self.sharing)


class AbstractCurveTraining(ResumableTraining[CurveReport]):
    """One training for the whole curve. It is a `loop.Trainee` itself."""

    advice = "narrow curve.low and curve.high"

    def __init__(self, settings: CurveSettings, dataset: Dataset) -> None:
        """Build the model and load the training images.

        Raises:
            UserError: likelihood, penalty or data rule out a curve, or a split is empty.
        """
        _refuse(settings, dataset)
        epochs = max(1, round(settings.curve.factor * settings.train.epochs))
        super().__init__(epochs, settings.train.checkpoint_every)
        self._spec, self._curve, self._seed = settings.train, settings.curve, settings.seed
        self._device = choose_device(settings.train.device)
        start_threads()
        self._images = Images(dataset.images("train"), dataset.info.binarisation).to(self._device)
        self.images_per_epoch = len(self._images)
        self.steps_per_epoch = steps_per_epoch(len(self._images), settings.train)
        self._steps = epochs * self.steps_per_epoch
        self._next_step = 0
        with forked(derive_seed(self._seed, "initial weights")):
            self._vae = VAE(settings.model, settings.likelihood, dataset.info.image_shape)
        self._vae.to(self._device)
        self._means = RunningMeans(self._vae, NoPenalty())
        size = settings.train.batch_size
        self._terms = make_terms(settings.train.precision, self._vae, size)
        self.threads = choose_threads(work_of(self._vae, size), self._device)

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return self._device

    def seed_of(self, epoch: int) -> int:
        """Return the seed of an epoch's random numbers."""
        return derive_seed(self._seed, "curve epoch", epoch)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Begin an epoch and iterate over its batches."""
        self._next_step = (epoch - 1) * self.steps_per_epoch
        self._means = RunningMeans(self._vae, NoPenalty())
        return self._images.shuffled(self._spec.batch_size, self._device)

    def step(self, batch: Tensor) -> None:
        """Take an optimizer step on a batch."""
        sums, weights = self._step(self._next_step, batch)
        self._means.add_row(sums, len(batch), weights)
        self._next_step += 1

    def means(self) -> SplitReport:
        """Return the means over all images of the epoch so far, of all β together."""
        return self._means.read()

    def report(self, epoch: int, seconds: float) -> CurveReport:
        """Return the report of the epoch that just ended."""
        return CurveReport(epoch, self.planned_epochs, self.means(), self._beta_of(epoch))

    def _train(self, epochs_done: int) -> Generator[StepReport | CurveReport]:
        return run_epochs(self, epochs_done)

    def _report_from(self, values: dict[str, Any]) -> CurveReport:
        return CurveReport.from_dict(values)

    @abstractmethod
    def _step(self, step: int, batch: Tensor) -> tuple[Tensor, Weights]:
        """Take step number `step` (from 0); return its `batch_sums` and the weights used."""

    @abstractmethod
    def _beta_of(self, epoch: int) -> float | None:
        """Return the β of the sweep at the end of an epoch; None: β differs between images."""

    @property
    @abstractmethod
    def curve(self) -> AbstractCurve:
        """The trained curve."""

    def _plain_learner(self, beta: float) -> Learner:
        """Return a learner without conditioning that starts at `beta`."""
        vae = self._vae.train()
        state = {"beta": torch.tensor(beta, device=self._device)}
        return Learner(vae, self._adam(vae), ExternalBeta(), state, terms=self._terms)

    def _adam(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return Adam(
            model.parameters(), lr=self._spec.learning_rate, fused=self._device.type != "mps"
        )

    def _set_rate(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Set the learning rate of the cosine schedule; `progress` goes from 0 to 1."""
        falling = 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.param_groups[0]["lr"] = self._spec.learning_rate * falling


class AbstractLearnerTraining(AbstractCurveTraining):
    """A training of a curve with one learner."""

    _learner: Learner

    @property
    def status(self) -> str:
        """How the steps run, if the user should know; else empty."""
        return "" if self._learner.step is None else self._learner.step.status

    def _begin(self, learner: Learner) -> None:
        learner.step = make_step(learner, self._images, self._spec, self._steps)
        self._learner = learner

    def _take(self, batch: Tensor, progress: float) -> tuple[Tensor, Weights]:
        """Take a step at the learning rate for `progress`, from 0 to 1."""
        self._set_rate(self._learner.optimizer, progress)
        result = self._learner.take_step(batch)
        return result.sums, result.weights


class ConditionedTraining(AbstractLearnerTraining):
    """One conditioned model; each group of images in each batch has a newly drawn β."""

    def __init__(self, settings: CurveSettings, dataset: Dataset) -> None:
        super().__init__(settings, dataset)
        curve = settings.curve
        with forked(derive_seed(self._seed, "initial conditioning")):
            model = ConditionedVAE(self._vae, curve.conditioning, curve.low, curve.high)
        self.model = model.to(self._device).train()
        optimizer, balance = self._adam(self.model), SharedBetas(sharing=curve.sharing)
        self._begin(Learner(self._vae, optimizer, balance, {}, terms=self._conditioned_terms))

    def _step(self, step: int, batch: Tensor) -> tuple[Tensor, Weights]:
        return self._take(batch, step / self._steps)

    def _conditioned_terms(self, model: EncoderDecoder, x: Tensor) -> ElboTerms:
        """Compute the terms of images x [B, …]; each `curve.group` adjacent images share a β.

        The draw of β takes place here, so that it is part of a compiled or recorded step.
        """
        group = math.gcd(self._curve.group, len(x))  # the last batch of an epoch may be smaller
        betas = draw_betas(self._curve, len(x) // group, x.device)
        terms = self._terms(self.model.given(betas), x)
        return replace(terms, betas=betas.repeat_interleave(group))

    def _beta_of(self, epoch: int) -> float | None:
        return None

    def _state(self) -> dict[str, Any]:
        optimizer = self._learner.optimizer
        return {"model": self.model.state_dict(), "optimizer": optimizer.state_dict()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._learner.optimizer.load_state_dict(state["optimizer"])

    @property
    def curve(self) -> ConditionedCurve:
        """The model in its current state, on its device."""
        return ConditionedCurve(self.model.eval())


def shared_weights(betas: Tensor, sharing: float) -> Weights:
    """Return α [B] and β [B, 1] of images for a model that all β share.

    The ratio β/α alone determines the optimum at a β. The scale α = (1 + β)^−sharing sets how much
    that β counts if the shared parameters cannot serve all. For sharing 0, α = 1, and the largest β
    dominate the gradient; for 1, α + β = 1, and the smallest do. With 0.1 the worst β had a loss
    1.8% above a separate training on MNIST (the smallest β) and 4.6% on sprites (the largest); with
    0.2 the figures were 0.4% and 5.3%.

    Args:
        betas: β/α of each image, [B].
        sharing: exponent from 0, which favours the largest β, to 1, which favours the smallest.
    """
    alpha = (1 + betas) ** -sharing
    return Weights(alpha, (alpha * betas)[:, None])


TILT = 0.75
"""Tilt of the density of β towards both ends of the range, from 0 (log-uniform) to 1."""


def draw_betas(spec: CurveSpec, count: int, device: torch.device | None = None) -> Tensor:
    """Draw β [count] between `spec.low` and `spec.high`, stratified over the range.

    The density of log β is 1/(1 − TILT) times the uniform one at both ends and 0.7 times in the
    middle. The shared parameters fit a β better if there are draws on both sides of it, and an end
    has them on one side only. The uniform variable u is drawn once in each of `count` equal parts,
    so every batch covers the whole range.
    """
    u = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    place = (1 - TILT) * u + TILT * torch.sin(u * math.pi / 2).square()  # log β, as 0 to 1
    betas = spec.low * torch.exp(place * math.log(spec.high / spec.low))
    return betas.clamp(spec.low, spec.high)


class ContinuationTraining(AbstractLearnerTraining):
    """One plain model, warm-started from each β to the next larger, with a snapshot at each.

    The least β, which starts from random weights, has `FIRST_SHARE` of the steps; the others divide
    the rest evenly. Each β has its own cosine schedule, so that the learning rate is near 0 at each
    snapshot.
    """

    def __init__(self, settings: CurveSettings, dataset: Dataset) -> None:
        super().__init__(settings, dataset)
        curve = settings.curve
        self._betas = log_spaced(curve.low, curve.high, curve.points)
        self._starts = _starts(self._steps, curve.points)
        self._begin(self._plain_learner(self._betas[0]))
        self._snapshots: list[tuple[float, VAE]] = []

    def _step(self, step: int, batch: Tensor) -> tuple[Tensor, Weights]:
        point = self._point(step)
        first, last = self._starts[point], self._starts[point + 1] - 1
        self._learner.balance_state["beta"].fill_(self._betas[point])
        sums, _ = self._take(batch, (step - first) / (last + 1 - first))
        if step == last:
            model = copy.deepcopy(self._learner.model).eval()
            self._snapshots.append((self._betas[point], model))
        return sums, Weights(1.0, self._betas[point])

    def _point(self, step: int) -> int:
        return bisect_right(self._starts, step) - 1

    def _beta_of(self, epoch: int) -> float | None:
        return self._betas[self._point(epoch * self.steps_per_epoch - 1)]

    def _state(self) -> dict[str, Any]:
        snapshots = [vae.state_dict() for _, vae in self._snapshots]
        return {"learner": learner_state(self._learner), "snapshots": snapshots}

    def _restore(self, state: dict[str, Any]) -> None:
        restore_learner(self._learner, state["learner"])
        self._snapshots = []
        # Not strict: the larger β have no snapshots yet.
        for beta, weights in zip(self._betas, state["snapshots"], strict=False):
            vae = copy.deepcopy(self._learner.model)
            vae.load_state_dict(weights)
            self._snapshots.append((beta, vae.eval()))

    @property
    def curve(self) -> ContinuationCurve:
        """All snapshots.

        Raises:
            ValueError: the training is not over.
        """
        if len(self._snapshots) < len(self._betas):
            raise ValueError("the sweep is not over: iterate the training to its end first")
        return ContinuationCurve(tuple(self._snapshots))


def _starts(steps: int, points: int) -> list[int]:
    """Return the first step of each β of a sweep, then the total number of steps.

    Raises:
        UserError: there are fewer steps than β.
    """
    first = round(FIRST_SHARE * steps)
    rest = steps - first
    if first < 1 or rest < points - 1:
        raise UserError(
            f"curve.points = {points}: the sweep has {steps} steps of training in all, too few to "
            "go through them; lower curve.points, or raise train.epochs or curve.factor."
        )
    return [0, *(first + rest * point // (points - 1) for point in range(points))]


def curve_training(settings: CurveSettings, dataset: Dataset) -> AbstractCurveTraining:
    """Make the training that `curve.method` names.

    Raises:
        UserError: see `AbstractCurveTraining`.
    """
    methods = {"conditioned": ConditionedTraining, "continuation": ContinuationTraining}
    return methods[settings.curve.method](settings, dataset)


def _refuse(settings: CurveSettings, dataset: Dataset) -> None:
    if settings.model.posterior == "deterministic":
        raise UserError(
            "model.posterior = 'deterministic': a plain autoencoder has no rate, so there is no "
            "trade-off to trace; set it to gaussian."
        )
    if settings.penalty.kind != "none":
        raise UserError(
            f"penalty.kind = {settings.penalty.kind!r}: a curve is of α·D + β·R alone; set it to "
            "none."
        )
    if misfit := settings.likelihood.misfit(dataset.info.binarisation):
        raise UserError(f"{misfit}.")
    for split in ("train", "validation"):
        if len(dataset.images(split)) == 0:
            raise UserError(
                f"the {split} split is empty; raise data.validation_fraction, or bring more images."
            )
