"""The two methods: one conditioned model, or one plain model swept from low to high β.

Both are iterated like `experiment.Training`: a report an epoch, and the caller decides. Their β are
those at α = 1, since only the ratio of the weights matters. They train with Adam and a learning
rate that falls to 0 along a cosine. Randomness is derived from (seed, epoch), so that one that
resumes at an epoch's end goes on as if it had never stopped.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebalance.balancing import AbstractBalance, State
from vaebalance.base.adam import Adam
from vaebalance.base.devices import choose_device, flushed, start_threads, threads
from vaebalance.base.errors import UserError
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.curve.curves import AbstractCurve, ConditionedCurve, ContinuationCurve, log_spaced
from vaebalance.data import Dataset
from vaebalance.run.checkpoints import Pace, learner_state, read_state, restore_learner, write_state
from vaebalance.settings import CurveSettings, CurveSpec
from vaebalance.training.loader import Images
from vaebalance.training.loop import (
    Learner,
    NonFiniteError,
    choose_update,
    make_update,
    on_batches,
    steps_per_epoch,
    train_step,
)
from vaebalance.training.precision import choose_threads, make_terms, work_of
from vaebalance.training.running_means import batch_sums
from vaebalance.vae.conditioning import ConditionedVAE
from vaebalance.vae.elbo import ElboTerms, Weights, weighted_loss
from vaebalance.vae.model import VAE

FIRST_SHARE = 0.5
"""Of a sweep's steps, for its least β."""


@dataclass(frozen=True)
class CurveEpoch:
    """An epoch's means over training images, whatever their β; nats per image."""

    epoch: int
    epochs: int
    distortion: float
    rate: float
    beta: float | None
    """Of the sweep; None: every image had its own."""


class Told(AbstractBalance):
    """β as the state has it, beside α = 1: a number that changes and needs no other graph."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """1, and the state's β."""
        return Weights(1.0, state["beta"])


class AbstractCurveTraining(ABC):
    """One training for the whole curve. Iterating it trains; see also `resume`."""

    def __init__(self, settings: CurveSettings, dataset: Dataset) -> None:
        """Begin.

        Raises:
            UserError: likelihood, penalty and data do not allow it, or a split is empty.
        """
        _refuse(settings, dataset)
        self._train, self._curve, self._seed = settings.train, settings.curve, settings.seed
        self._device = choose_device(settings.train.device)
        start_threads()
        self._images = Images(dataset.images("train"), dataset.info.binarisation).near(self._device)
        self._batches = steps_per_epoch(len(self._images), settings.train)
        self.epochs = max(1, round(settings.curve.factor * settings.train.epochs))
        self._steps = self.epochs * self._batches
        self.history: list[CurveEpoch] = []
        self._kept: tuple[Path, str] | None = None
        self._pace = Pace(settings.train.checkpoint_every)
        with forked(derive_seed(self._seed, "initial weights")):
            self._vae = VAE(settings.model, settings.likelihood, dataset.info.image_shape)
        self._vae.to(self._device)
        size = settings.train.batch_size
        self._terms = make_terms(settings.train.precision, self._vae, size)
        self._threads = choose_threads(work_of(self._vae, size), self._device)

    def resume(self, path: Path, fingerprint: str) -> None:
        """Go on from the checkpoint at `path`, if it is of this training, and keep one there.

        It is written every `train.checkpoint_every` epochs (see `Pace`), and at the end. A sweep's
        has all its snapshots so far.

        Raises:
            UserError: the file cannot be read.
        """
        self._kept = path, fingerprint
        found = read_state(path, fingerprint, self._device)
        if found is not None:
            self.history = [CurveEpoch(**values) for values in found["history"]]
            self._restore(found["training"])

    def __iter__(self) -> Iterator[CurveEpoch]:
        """Reports, those before a resume first, then a new one for each epoch as it is trained.

        Raises:
            NonFiniteError: a term became NaN or infinite.
        """
        yield from tuple(self.history)
        for epoch in range(len(self.history) + 1, self.epochs + 1):
            noise = derive_seed(self._seed, "curve epoch", epoch)
            with threads(self._threads), flushed(), forked(noise):
                sums = self._pass(epoch)
            if not sums.isfinite().all():
                raise NonFiniteError(
                    f"the distortion or the rate is NaN or infinite at epoch {epoch}. Lower "
                    "train.learning_rate, set train.gradient_clip, or narrow curve.low and "
                    "curve.high."
                )
            distortion, rate = (sums / len(self._images)).tolist()
            report = CurveEpoch(epoch, self.epochs, distortion, rate, self._beta_of(epoch))
            self._take(report)
            yield report

    def _take(self, report: CurveEpoch) -> None:
        self.history.append(report)
        finished = report.epoch == self.epochs
        if self._kept and self._pace.is_due(report.epoch, is_over=finished):
            history = [asdict(known) for known in self.history]
            write_state(*self._kept, {"training": self._state(), "history": history})

    def _pass(self, epoch: int) -> Tensor:
        """Train on every image once; D and R summed over images: [2], on the CPU."""
        order = torch.randperm(len(self._images))
        batches = self._images.batches(order, self._train.batch_size, self._device)
        first, sums = (epoch - 1) * self._batches, []
        for step, batch in enumerate(batches, start=first):
            sums.append(self._step(step, batch))
        distortion, _, rate, *_ = torch.stack(sums).sum(0).cpu()
        return torch.stack([distortion, rate])

    @abstractmethod
    def _step(self, step: int, batch: Tensor) -> Tensor:
        """One update, the `step`-th from 0, on a batch of the images; its `tally.batch_sums`."""

    @abstractmethod
    def _beta_of(self, epoch: int) -> float | None:
        """Where the sweep is at the end of an epoch."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Everything that training changes."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """Put such a state into a training of the same settings."""

    @property
    @abstractmethod
    def curve(self) -> AbstractCurve:
        """What was trained."""

    def _plain_learner(self, beta: float) -> Learner:
        """One without conditioning, that begins at a β."""
        vae = self._vae.train()
        state = {"beta": torch.tensor(beta, device=self._device)}
        learner = Learner(vae, self._adam(vae), Told(), state, terms=self._terms)
        learner.update = make_update(learner, self._images, self._train, self._steps)
        return learner

    def _adam(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return Adam(
            model.parameters(), lr=self._train.learning_rate, fused=self._device.type != "mps"
        )

    def _set_rate(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """The learning rate at this share of a cosine's half wave."""
        falling = 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.param_groups[0]["lr"] = self._train.learning_rate * falling


class ConditionedTraining(AbstractCurveTraining):
    """One model that is told β, which is drawn anew for each group of images of each batch."""

    def __init__(self, settings: CurveSettings, dataset: Dataset) -> None:
        super().__init__(settings, dataset)
        curve = settings.curve
        with forked(derive_seed(self._seed, "initial conditioning")):
            model = ConditionedVAE(self._vae, curve.conditioning, curve.low, curve.high)
        self.model = model.to(self._device).train()
        self._optimizer = self._adam(self.model)
        objective = on_batches(self._objective, self._images)
        self._update = choose_update(
            objective, self._vae, self._optimizer, self._train, self._steps
        )

    def _step(self, step: int, batch: Tensor) -> Tensor:
        self._set_rate(self._optimizer, step / (self._steps))
        sums: Tensor = self._update(batch)
        return sums

    def _objective(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of images x [B, …], of which `curve.group` neighbours have each β; their sums.

        To draw β is part of the step, too, which so can be compiled and recorded.
        """
        group = math.gcd(self._curve.group, len(x))  # an epoch's last batch may be an odd one
        betas = draw_betas(self._curve, len(x) // group, x.device)
        terms = self._terms(self.model.given(betas), x)
        of_images = betas.repeat_interleave(group)
        weights = shared_weights(of_images, self._curve.sharing)
        return weighted_loss(terms, weights), batch_sums(terms.detach(), weights, {})

    def _beta_of(self, epoch: int) -> float | None:
        return None

    def _state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    @property
    def curve(self) -> ConditionedCurve:
        """The model as it is now, on its device."""
        return ConditionedCurve(self.model.eval())


def shared_weights(betas: Tensor, sharing: float) -> Weights:
    """α and β of images, whose ratios are `betas` [B], for one model that serves all of them.

    The ratio alone decides where the optimum at a β is; α = (1 + β)^−sharing says how much that β
    counts where the shared weights cannot serve all. With 0, α = 1, and the largest β rules the
    gradient; with 1, α + β = 1, and the least does. With 0.1 the worst β was 1.8% above a separate
    run on MNIST (the least) and 4.6% on sprites (the largest); with 0.2, 0.4 and 5.3%.
    """
    alpha = (1 + betas) ** -sharing
    return Weights(alpha, (alpha * betas)[:, None])


TILT = 0.75
"""Of draws of β towards the ends of the range, from 0 (even on a log scale) to 1."""


def draw_betas(spec: CurveSpec, count: int, device: torch.device | None = None) -> Tensor:
    """[count] from low to high on a log scale, 1/(1 − TILT) times as often as evenly at both ends.

    An end has neighbours on one side only that train the shared weights for it, and the middle,
    drawn 0.7 times as often, has them on both. Every batch has all of the range: u, before it is
    bent towards the ends, is drawn in each of `count` equal parts.
    """
    u = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    place = (1 - TILT) * u + TILT * torch.sin(u * math.pi / 2).square()  # of log β, from 0 to 1
    betas = spec.low * torch.exp(place * math.log(spec.high / spec.low))
    return betas.clamp(spec.low, spec.high)


class PlainTraining(AbstractCurveTraining):
    """A plain model at one β, trained like a curve: what a curve is measured against."""

    def __init__(self, settings: CurveSettings, dataset: Dataset, beta: float) -> None:
        super().__init__(settings, dataset)
        self._learner = self._plain_learner(beta)
        self._beta = beta

    def _step(self, step: int, batch: Tensor) -> Tensor:
        self._set_rate(self._learner.optimizer, step / (self._steps))
        return train_step(self._learner, batch).sums

    def _beta_of(self, epoch: int) -> float | None:
        return self._beta

    def _state(self) -> dict[str, Any]:
        return learner_state(self._learner)

    def _restore(self, state: dict[str, Any]) -> None:
        restore_learner(self._learner, state)

    @property
    def model(self) -> VAE:
        """The model as it is now."""
        return self._learner.model.eval()

    @property
    def curve(self) -> ContinuationCurve:
        """A curve of one point."""
        return ContinuationCurve(((self._beta, self.model),))


class ContinuationTraining(AbstractCurveTraining):
    """One plain model, warm-started from each β to the next larger; a snapshot at each.

    The least β, which begins with random weights, has `FIRST_SHARE` of the steps, the others share
    the rest evenly. Each has a cosine of its own, so that each snapshot is a model that has come to
    rest, not one in the middle of its way.
    """

    def __init__(self, settings: CurveSettings, dataset: Dataset) -> None:
        super().__init__(settings, dataset)
        curve = settings.curve
        self._betas = log_spaced(curve.low, curve.high, curve.points)
        self._starts = _starts(self._steps, curve.points)
        self._learner = self._plain_learner(self._betas[0])
        self._snapshots: list[tuple[float, VAE]] = []

    def _step(self, step: int, batch: Tensor) -> Tensor:
        point = self._point(step)
        first, last = self._starts[point], self._starts[point + 1] - 1
        learner = self._learner
        learner.balance_state["beta"].fill_(self._betas[point])
        self._set_rate(learner.optimizer, (step - first) / (last + 1 - first))
        sums = train_step(learner, batch).sums
        if step == last:
            self._snapshots.append((self._betas[point], copy.deepcopy(learner.model).eval()))
        return sums

    def _point(self, step: int) -> int:
        return bisect_right(self._starts, step) - 1

    def _beta_of(self, epoch: int) -> float | None:
        return self._betas[self._point(epoch * self._batches - 1)]

    def _state(self) -> dict[str, Any]:
        snapshots = [vae.state_dict() for _, vae in self._snapshots]
        return {"learner": learner_state(self._learner), "snapshots": snapshots}

    def _restore(self, state: dict[str, Any]) -> None:
        restore_learner(self._learner, state["learner"])
        self._snapshots = []
        # Without strict: the larger β are still to come.
        for beta, weights in zip(self._betas, state["snapshots"], strict=False):
            vae = copy.deepcopy(self._learner.model)
            vae.load_state_dict(weights)
            self._snapshots.append((beta, vae.eval()))

    @property
    def curve(self) -> ContinuationCurve:
        """All snapshots; only when the training is over."""
        if len(self._snapshots) < len(self._betas):
            raise ValueError("the sweep is not over: iterate the training to its end first")
        return ContinuationCurve(tuple(self._snapshots))


def _starts(steps: int, points: int) -> list[int]:
    """The first step of each β of a sweep, and the number of steps."""
    first = round(FIRST_SHARE * steps)
    rest = steps - first
    if first < 1 or rest < points - 1:
        raise UserError(
            f"curve.points = {points}: the sweep has {steps} steps of training in all, too few to "
            "go through them; lower curve.points, or raise train.epochs or curve.factor."
        )
    return [0, *(first + rest * point // (points - 1) for point in range(points))]


def curve_training(settings: CurveSettings, dataset: Dataset) -> AbstractCurveTraining:
    """The training that `curve.method` names.

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
