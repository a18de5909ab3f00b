"""Run several trainings at once as one stacked model; each yields the reports it would yield alone.

Batches and noise are the same as alone, so the numbers agree to float tolerance. Learners may
differ in seed, learning rate, clipping, balance, penalty and the parameters of the likelihood. All
trainings end an epoch at the same time. Read their reports in turn; a training that is no longer
read frees its slot.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.balancing import State
from vaebalance.base.reports import (
    EpochReport,
    GradientNorms,
    PosteriorStats,
    SplitReport,
    StepReport,
)
from vaebalance.base.seeds import derive_seed
from vaebalance.stacking.stack import Stack, StackedTerms, gradient_norms
from vaebalance.stacking.stack import incompatibility as incompatibility_of_learners
from vaebalance.stacking.stacked_step import StackedStep, row_sums, weigh
from vaebalance.training.loader import Images
from vaebalance.training.loop import (
    ADVICE,
    MEASURING_BATCH,
    Measured,
    NonFiniteError,
    TrainSpec,
    make_report,
    non_finite,
    refuse_non_finite,
    run_epochs,
    steps_per_epoch,
)
from vaebalance.training.loop import gradient_norms as lone_gradient_norms
from vaebalance.training.loop import validate as lone_validate
from vaebalance.training.precision import choose_threads, work_of
from vaebalance.training.running_means import (
    NonFiniteBatch,
    RunningMeans,
    posterior_stats,
    posterior_sums,
)
from vaebalance.training.step import Learner

MEASURED_IMAGES = 4000
"""Images times models in one measuring pass, to bound its memory."""


@dataclass
class Member:
    """One of the trainings: arguments of `loop.train`."""

    learner: Learner
    spec: TrainSpec
    seed: int
    epochs_done: int = 0


Outcome = EpochReport | NonFiniteError


def incompatibility(members: Sequence[Member]) -> str | None:
    """Return why the members cannot be trained together; None: they can."""
    if len({member.spec.batch_size for member in members}) > 1:
        return "their batch sizes differ"
    if len({member.epochs_done for member in members}) > 1:
        return "they have come to different epochs"
    return incompatibility_of_learners([member.learner for member in members])


class Together:
    """Trainings on the same images that pass `incompatibility`."""

    def __init__(self, members: Sequence[Member], images: Images, validation: Images) -> None:
        self._members = list(members)
        self._training = StackTraining(members, images, validation)
        self._epochs = run_epochs(self._training, members[0].epochs_done)
        self._outcomes: dict[int, Outcome] = {}

    def reports(self, index: int) -> Generator[EpochReport]:
        """Yield the reports of a member; closing the generator frees the member's slot.

        Raises:
            NonFiniteError: a term of the member became NaN or infinite.
        """
        member = self._members[index]
        try:
            for _ in range(member.epochs_done, member.spec.epochs):
                if index not in self._outcomes:
                    self._advance()
                outcome = self._outcomes.pop(index)
                if isinstance(outcome, NonFiniteError):
                    raise outcome
                yield outcome
        finally:
            self._outcomes.pop(index, None)
            self._training.leave(index)

    def _advance(self) -> None:
        """Train all remaining members for an epoch."""
        if self._outcomes:
            raise RuntimeError(f"reports of members {sorted(self._outcomes)} were not read")
        self._outcomes = next(r for r in self._epochs if not isinstance(r, StepReport))


class _Draws:
    """Generators of one seed that draw the random numbers of a training by itself."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.host = torch.Generator().manual_seed(seed)
        on_host = device.type == "cpu"
        self.device = self.host if on_host else torch.Generator(device).manual_seed(seed)


class _Source:
    """Pixels and noise for K members; members with the same seed share them."""

    def __init__(self, members: Sequence[Member], *names: object) -> None:
        model = members[0].learner.model
        self._place = members[0].learner.device
        self._latents, self._is_variational = model.latent_size, model.is_variational
        seeds = [member.seed for member in members]
        self.draws = {s: _Draws(derive_seed(s, *names), self._place) for s in seeds}
        self._slots = seeds if len(self.draws) > 1 else seeds[:1]

    def batch(self, images: Images, indices: Sequence[Tensor | slice]) -> tuple[Tensor, Tensor]:
        """Return pixels [K, B, C, H, W] and noise [K, B, Z]; K is 1 if all members share a seed.

        Args:
            images: images to read.
            indices: places of the batch's images, for each seed.
        """
        batches = {}
        for (seed, draws), chosen in zip(self.draws.items(), indices, strict=True):
            x = images.pixels(chosen, self._place, draws.device)
            noise = x.new_empty(len(x), self._latents)
            if self._is_variational:
                noise.normal_(generator=draws.device)
            batches[seed] = (x, noise)
        pixels, noises = zip(*(batches[seed] for seed in self._slots), strict=True)
        if len(self._slots) == 1:
            return pixels[0][None], noises[0][None]
        return torch.stack(pixels), torch.stack(noises)


class StackTraining:
    """A stack of trainings as a `loop.Trainee`; a report is a dict of outcomes by member index."""

    advice = ADVICE

    def __init__(self, members: Sequence[Member], images: Images, validation: Images) -> None:
        """Stack the members, which must pass `incompatibility`."""
        first = members[0]
        self._device = first.learner.device
        self._images, self._validation = images.to(self._device), validation.to(self._device)
        self._all = list(members)
        self._left: set[int] = set()
        self.planned_epochs = max(member.spec.epochs for member in members)
        self.images_per_epoch = len(images)
        self.steps_per_epoch = steps_per_epoch(len(images), first.spec)
        work = len(members) * work_of(first.learner.model, first.spec.batch_size)
        self.threads = choose_threads(work, self._device)
        # Adjacent learners with the same learning rate are updated by one call.
        self._order = sorted(range(len(members)), key=lambda i: members[i].spec.learning_rate)
        self._stack = Stack([member.learner for member in self._members])
        self._step = self._make_step()
        self._means: list[RunningMeans] = []
        self._trained: list[SplitReport | NonFiniteBatch] = []

    @property
    def is_recorded(self) -> bool:
        """Whether the steps are recorded on a CUDA device."""
        return self._step.is_recorded

    def leave(self, index: int) -> None:
        """Free the slot of a member at the next epoch, or now if no member remains."""
        self._left.add(index)
        if len(self._left) == len(self._all):
            self._free()

    def seed_of(self, epoch: int) -> int:
        """Return a seed that no draw uses, since each member has its own: see `_Source`."""
        return derive_seed(self._all[0].seed, "epoch", epoch)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Begin an epoch of the remaining members; iterate over pixels and noise: see `_Source`."""
        ended = (index for index in self._order if self._all[index].spec.epochs < epoch)
        self._left.update(ended)
        self._free()
        self._means = self._new_means(self._learners)
        for learner in self._learners:
            learner.model.train()
        source = _Source(self._members, "epoch", epoch)
        size = self._all[0].spec.batch_size
        place = self._images.stored.device
        orders = [
            torch.randperm(len(self._images), generator=draws.host).to(place).split(size)
            for draws in source.draws.values()
        ]
        return (source.batch(self._images, indices) for indices in zip(*orders, strict=True))

    def step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Take an optimizer step of all members on pixels and noise."""
        x, noise = batch
        taken = self._step(x, noise)
        for means, (sums, weights) in zip(self._means, taken, strict=True):
            means.add_row(sums, x.shape[1], weights)

    def means(self) -> None:
        """Read the means of all, after waiting for the device."""
        self._trained = [_read(means) for means in self._means]

    def report(self, epoch: int, seconds: float) -> dict[int, Outcome]:
        """Return the outcome of each member; the seconds are divided among them."""
        share, last = seconds / len(self._members), epoch * self.steps_per_epoch
        outcomes = dict[int, Outcome]()
        members = zip(self._order, self._learners, self._trained, self._measure(), strict=True)
        for index, learner, report, rest in members:
            if isinstance(report, NonFiniteBatch):
                step = last - self.steps_per_epoch + report.batch
                outcomes[index] = non_finite(report, epoch, step, self.advice)
            elif isinstance(rest, NonFiniteBatch):
                outcomes[index] = non_finite(rest, epoch, last, self.advice)
            else:
                measured = Measured(report, *rest)
                images = self.images_per_epoch
                outcomes[index] = make_report(learner, measured, epoch, last, share, images)
        return outcomes

    @property
    def _members(self) -> list[Member]:
        """The remaining members, in the order of the stack."""
        return [self._all[index] for index in self._order]

    @property
    def _learners(self) -> list[Learner]:
        return self._stack.learners

    def _free(self) -> None:
        if self._left.isdisjoint(self._order):
            return
        staying = [slot for slot, index in enumerate(self._order) if index not in self._left]
        self._stack.keep(staying)
        self._order = [self._order[slot] for slot in staying]
        if staying:
            self._step = self._make_step()

    def _make_step(self) -> StackedStep:
        specs = [member.spec for member in self._members]
        # (An Adam that is not fused counts its steps on the CPU, which cannot be recorded.)
        on_cuda = all(
            learner.device.type == "cuda" and learner.optimizer.param_groups[0]["fused"]
            for learner in self._learners
        )
        is_recorded = on_cuda and all(spec.compile != "off" for spec in specs)
        clips = [spec.gradient_clip for spec in specs]
        return StackedStep(self._stack, clips, len(self._images), is_recorded=is_recorded)

    def _new_means(self, learners: Sequence[Learner]) -> list[RunningMeans]:
        return [RunningMeans(learner.model, learner.penalty) for learner in learners]

    def _measure(self) -> list[_Validated | NonFiniteBatch]:
        """Measure the members after an epoch, as `loop` measures a single learner."""
        if any(learner.penalty.coefficients() for learner in self._learners):
            return [self._measure_alone(member) for member in self._members]
        for learner in self._learners:
            learner.model.eval()
        at_once = max(1, MEASURED_IMAGES // min(len(self._validation), MEASURING_BATCH))
        results: list[_Validated | NonFiniteBatch] = []
        for start in range(0, len(self._members), at_once):
            results += self._measure_slots(slice(start, start + at_once))
        return results

    def _measure_alone(self, member: Member) -> _Validated | NonFiniteBatch:
        learner, spec, seed = member.learner, member.spec, member.seed
        try:
            norms = lone_gradient_norms(learner, self._validation, spec, seed)
            refuse_non_finite(norms)
            return (*lone_validate(learner, self._validation, spec, seed), norms)
        except NonFiniteBatch as bad:
            return bad

    def _measure_slots(self, slots: slice) -> list[_Validated | NonFiniteBatch]:
        norms = self._gradient_norms(slots)
        means, sums = self._validate(slots)
        results: list[_Validated | NonFiniteBatch] = []
        for norm, mean, row in zip(norms, means, sums, strict=True):
            try:
                refuse_non_finite(norm)
                is_density = self._learners[0].model.likelihood.is_density
                stats = posterior_stats(row, len(self._validation), is_density=is_density)
                results.append((mean.read(), stats, norm))
            except NonFiniteBatch as bad:
                results.append(bad)
        return results

    @torch.no_grad()
    def _validate(self, slots: slice) -> tuple[list[RunningMeans], Tensor]:
        """Return the means of some slots, and the sums of their posterior stats [K, 2 + 2Z]."""
        learners, source = self._learners[slots], _Source(self._members[slots], "validation")
        means = self._new_means(learners)
        sums = torch.zeros(())
        for start in range(0, len(self._validation), MEASURING_BATCH):
            chosen = slice(start, start + MEASURING_BATCH)
            batch = source.batch(self._validation, [chosen] * len(source.draws))
            stacked = self._stack.terms(*batch, self._stack.part(slots), slots)
            weights = weigh(learners, _states(learners), stacked)
            rows = row_sums(stacked.terms, weights.terms(stacked.terms))
            for mean, row, pair in zip(means, rows, weights.by_learner, strict=True):
                mean.add_row(row, stacked.terms.distortion.shape[1], pair)
            sums = sums + _posterior_sums(learners, stacked)
        return means, sums

    def _gradient_norms(self, slots: slice) -> list[GradientNorms]:
        source = _Source(self._members[slots], "gradient norms")
        chosen = slice(0, MEASURING_BATCH)
        batch = source.batch(self._validation, [chosen] * len(source.draws))
        weights = self._stack.part(slots)
        stacked = self._stack.terms(*batch, weights, slots)
        learners = self._learners[slots]
        parts = weigh(learners, _states(learners), stacked).terms(stacked.terms)
        trained = [weight for weight in weights.values() if weight.requires_grad]
        columns = [_norms(part, trained) for part in parts]
        return [GradientNorms(*row) for row in zip(*columns, strict=True)]


_Validated = tuple[SplitReport, PosteriorStats, GradientNorms]


def _states(learners: Sequence[Learner]) -> list[State]:
    """Return the states of the learners' balances."""
    return [learner.balance_state for learner in learners]


def _posterior_sums(learners: Sequence[Learner], stacked: StackedTerms) -> Tensor:
    """Return `running_means.posterior_sums` of each learner, [K, 2 + 2Z]."""
    is_density = learners[0].model.likelihood.is_density
    if stacked.terms.likelihood is not None:
        return posterior_sums(stacked.terms, is_density=is_density)
    terms = (stacked.of(slot, learner) for slot, learner in enumerate(learners))
    return torch.stack([posterior_sums(row, is_density=is_density) for row in terms])


def _norms(part: Tensor, weights: Sequence[Tensor]) -> list[float]:
    """Return the gradient norm of each learner's `part` [K] of the loss, and keep the graph."""
    if not part.requires_grad:  # the rate of an autoencoder
        return [0.0] * len(part)
    gradients = torch.autograd.grad(part.sum(), weights, retain_graph=True, allow_unused=True)
    norms: list[float] = gradient_norms([g for g in gradients if g is not None]).tolist()
    return norms


def _read(means: RunningMeans) -> SplitReport | NonFiniteBatch:
    try:
        return means.read()
    except NonFiniteBatch as bad:
        return bad
