"""Several trainings at once, as one stacked model: each gives the reports that it gives alone.

The same batches and the same noise, so the same numbers to float tolerance. Learners may differ in
seed, learning rate, clipping, balance, penalty and in the likelihood's numbers; epochs end for all
at once. Whoever reads the reports of one reads in turn with the others, and may stop at any time:
its slot is freed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.balancing import State
from vaebalance.base.devices import flushed, threads
from vaebalance.base.reports import EpochReport, GradientNorms, PosteriorStats, SplitReport
from vaebalance.base.seeds import derive_seed
from vaebalance.stacking.stack import Stack, StackedTerms, gradient_norms, misfit
from vaebalance.stacking.stacked_step import StackedStep, row_sums, weigh
from vaebalance.training.loader import Images
from vaebalance.training.loop import (
    MEASURING_BATCH,
    Learner,
    Measured,
    NonFiniteError,
    TrainSpec,
    make_report,
    non_finite,
    refuse_non_finite,
    steps_per_epoch,
)
from vaebalance.training.loop import gradient_norms as lone_gradient_norms
from vaebalance.training.loop import validate as lone_validate
from vaebalance.training.precision import choose_threads, work_of
from vaebalance.training.running_means import NonFiniteBatch, Tally, posterior_stats, posterior_sums

MEASURED_IMAGES = 4000
"""Images times models of one measuring pass, which bounds its memory."""


@dataclass
class Member:
    """One of the trainings, as `training.train` takes it."""

    learner: Learner
    spec: TrainSpec
    seed: int
    epochs_done: int = 0


Outcome = EpochReport | NonFiniteError


def obstacle(members: Sequence[Member]) -> str | None:
    """Why they cannot be trained together; None: they can."""
    if len({member.spec.batch_size for member in members}) > 1:
        return "their batch sizes differ"
    if len({member.epochs_done for member in members}) > 1:
        return "they have come to different epochs"
    return misfit([member.learner for member in members])


class Together:
    """Trainings on the same images, which `obstacle` found nothing against."""

    def __init__(self, members: Sequence[Member], images: Images, validation: Images) -> None:
        device = members[0].learner.device
        self._images, self._validation = images.near(device), validation.near(device)
        self._members = list(members)
        self._epoch = members[0].epochs_done
        first = members[0]
        work = len(members) * work_of(first.learner.model, first.spec.batch_size)
        self._threads = choose_threads(work, first.learner.device)
        # Neighbours of one learning rate are updated at once.
        self._order = sorted(range(len(members)), key=lambda i: members[i].spec.learning_rate)
        self._stack = Stack([members[index].learner for index in self._order])
        self._step = self._make_step()
        self._outcomes: dict[int, Outcome] = {}
        self._left: set[int] = set()

    def reports(self, index: int) -> Generator[EpochReport]:
        """What `train` yields of a member, but for pulses; closing it frees the member's slot.

        Raises:
            NonFiniteError: as `train` does.
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
            self._left.add(index)
            self._outcomes.pop(index, None)
            if len(self._left) == len(self._members):
                self._free()

    def _advance(self) -> None:
        """An epoch of all that are left."""
        if self._outcomes:
            raise RuntimeError(f"reports of members {sorted(self._outcomes)} were not read")
        ended = (i for i in self._order if self._members[i].spec.epochs <= self._epoch)
        self._left.update(ended)
        self._free()
        self._epoch += 1
        run = _Epoch(
            self._stack,
            self._step,
            [self._members[index] for index in self._order],
            self._images,
            self._validation,
            self._epoch,
        )
        with threads(self._threads), flushed():
            self._outcomes = dict(zip(self._order, run.outcomes(), strict=True))

    def _free(self) -> None:
        if self._left.isdisjoint(self._order):
            return
        staying = [slot for slot, index in enumerate(self._order) if index not in self._left]
        self._stack.keep(staying)
        self._order = [self._order[slot] for slot in staying]
        if staying:
            self._step = self._make_step()

    def _make_step(self) -> StackedStep:
        specs = [self._members[index].spec for index in self._order]
        # (An Adam that is not fused counts its steps on the processor, where nothing is recorded.)
        on_cuda = all(
            learner.device.type == "cuda" and learner.optimizer.param_groups[0]["fused"]
            for learner in self._stack.learners
        )
        is_recorded = on_cuda and all(spec.compile != "off" for spec in specs)
        clips = [spec.gradient_clip for spec in specs]
        return StackedStep(self._stack, clips, len(self._images), is_recorded=is_recorded)


class _Draws:
    """The random numbers of one seed, as torch's own generators give them to a lone training."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.host = torch.Generator().manual_seed(seed)
        on_host = device.type == "cpu"
        self.device = self.host if on_host else torch.Generator(device).manual_seed(seed)


class _Source:
    """Pixels and noise for K members, by their seeds: those of one seed share them."""

    def __init__(self, members: Sequence[Member], *names: object) -> None:
        model = members[0].learner.model
        self._place = members[0].learner.device
        self._latents, self._is_variational = model.latent_size, model.is_variational
        seeds = [member.seed for member in members]
        self.draws = {s: _Draws(derive_seed(s, *names), self._place) for s in seeds}
        self._slots = seeds if len(self.draws) > 1 else seeds[:1]

    def batch(self, images: Images, indices: Sequence[Tensor | slice]) -> tuple[Tensor, Tensor]:
        """([K, B, C, H, W] pixels, [K, B, Z] noise) of `indices` for each seed; K = 1 for all."""
        found = {}
        for (seed, draws), chosen in zip(self.draws.items(), indices, strict=True):
            x = images.pixels(chosen, self._place, draws.device)
            noise = x.new_empty(len(x), self._latents)
            if self._is_variational:
                noise.normal_(generator=draws.device)
            found[seed] = (x, noise)
        pixels, noises = zip(*(found[seed] for seed in self._slots), strict=True)
        if len(self._slots) == 1:
            return pixels[0][None], noises[0][None]
        return torch.stack(pixels), torch.stack(noises)


class _Epoch:
    """One pass over the images, for all K members of a stack."""

    def __init__(
        self,
        stack: Stack,
        step: StackedStep,
        members: Sequence[Member],
        images: Images,
        validation: Images,
        epoch: int,
    ) -> None:
        self._stack, self._step, self._members = stack, step, members
        self._learners = [member.learner for member in members]
        self._images, self._validation = images, validation
        self._epoch = epoch

    def outcomes(self) -> list[Outcome]:
        """What becomes of each."""
        started = time.perf_counter()
        tallies = self._train()
        trained = [_read(tally) for tally in tallies]
        seconds = (time.perf_counter() - started) / len(self._members)
        measured = self._measure()
        batches = steps_per_epoch(len(self._images), self._members[0].spec)
        step, found = self._epoch * batches, list[Outcome]()
        for learner, report, rest in zip(self._learners, trained, measured, strict=True):
            if isinstance(report, NonFiniteBatch):
                bad_step = step - batches + report.batch
                found.append(non_finite(report, self._epoch, bad_step))
            elif isinstance(rest, NonFiniteBatch):
                found.append(non_finite(rest, self._epoch, step))
            else:
                validated, stats, norms = rest
                content = Measured(report, validated, stats, norms)
                images = len(self._images)
                found.append(make_report(learner, content, self._epoch, step, seconds, images))
        return found

    def _train(self) -> list[Tally]:
        source = _Source(self._members, "epoch", self._epoch)
        size = self._members[0].spec.batch_size
        place = self._images.stored.device
        orders = [
            torch.randperm(len(self._images), generator=draws.host).to(place).split(size)
            for draws in source.draws.values()
        ]
        tallies = [Tally(learner.model, learner.penalty) for learner in self._learners]
        for learner in self._learners:
            learner.model.train()
        for indices in zip(*orders, strict=True):
            x, noise = source.batch(self._images, indices)
            taken = self._step(x, noise)
            for tally, (sums, weights) in zip(tallies, taken, strict=True):
                tally.add_row(sums, x.shape[1], weights)
        return tallies

    def _measure(self) -> list[_Validated | NonFiniteBatch]:
        """After the epoch, as `training` measures a lone learner."""
        if any(learner.penalty.coefficients() for learner in self._learners):
            return [self._measure_alone(member) for member in self._members]
        for learner in self._learners:
            learner.model.eval()
        at_once = max(1, MEASURED_IMAGES // min(len(self._validation), MEASURING_BATCH))
        found: list[_Validated | NonFiniteBatch] = []
        for start in range(0, len(self._members), at_once):
            found += self._measure_some(slice(start, start + at_once))
        return found

    def _measure_alone(self, member: Member) -> _Validated | NonFiniteBatch:
        learner, spec, seed = member.learner, member.spec, member.seed
        try:
            norms = lone_gradient_norms(learner, self._validation, spec, seed)
            refuse_non_finite(norms)
            return (*lone_validate(learner, self._validation, spec, seed), norms)
        except NonFiniteBatch as bad:
            return bad

    def _measure_some(self, slots: slice) -> list[_Validated | NonFiniteBatch]:
        norms = self._gradient_norms(slots)
        tallies, sums = self._validate(slots)
        found: list[_Validated | NonFiniteBatch] = []
        for norm, tally, own in zip(norms, tallies, sums, strict=True):
            try:
                refuse_non_finite(norm)
                is_density = self._learners[0].model.likelihood.is_density
                stats = posterior_stats(own, len(self._validation), is_density=is_density)
                found.append((tally.read(), stats, norm))
            except NonFiniteBatch as bad:
                found.append(bad)
        return found

    @torch.no_grad()
    def _validate(self, slots: slice) -> tuple[list[Tally], Tensor]:
        """The tallies of some slots, and the sums of their posterior_stats [K, 2 + 2Z]."""
        learners, source = self._learners[slots], _Source(self._members[slots], "validation")
        tallies = [Tally(learner.model, learner.penalty) for learner in learners]
        sums = torch.zeros(())
        for start in range(0, len(self._validation), MEASURING_BATCH):
            chosen = slice(start, start + MEASURING_BATCH)
            batch = source.batch(self._validation, [chosen] * len(source.draws))
            found = self._stack.terms(*batch, self._stack.part(slots), slots)
            weights = weigh(learners, _states(learners), found)
            rows = row_sums(found.terms, weights.terms(found.terms))
            for tally, row, own in zip(tallies, rows, weights.own, strict=True):
                tally.add_row(row, found.terms.distortion.shape[1], own)
            sums = sums + _posterior_sums(learners, found)
        return tallies, sums

    def _gradient_norms(self, slots: slice) -> list[GradientNorms]:
        source = _Source(self._members[slots], "gradient norms")
        chosen = slice(0, MEASURING_BATCH)
        batch = source.batch(self._validation, [chosen] * len(source.draws))
        own = self._stack.part(slots)
        found = self._stack.terms(*batch, own, slots)
        learners = self._learners[slots]
        parts = weigh(learners, _states(learners), found).terms(found.terms)
        columns = [_norms(part, list(own.values())) for part in parts]
        return [GradientNorms(*row) for row in zip(*columns, strict=True)]


_Validated = tuple[SplitReport, PosteriorStats, GradientNorms]


def _states(learners: Sequence[Learner]) -> list[State]:
    """Of their balances."""
    return [learner.balance_state for learner in learners]


def _posterior_sums(learners: Sequence[Learner], found: StackedTerms) -> Tensor:
    """`tally.posterior_sums` of each, [K, 2 + 2Z]."""
    is_density = learners[0].model.likelihood.is_density
    if found.terms.likelihood is not None:
        return posterior_sums(found.terms, is_density=is_density)
    own = (found.of(slot, learner) for slot, learner in enumerate(learners))
    return torch.stack([posterior_sums(terms, is_density=is_density) for terms in own])


def _norms(part: Tensor, weights: Sequence[Tensor]) -> list[float]:
    """Of the gradient of each learner's part [K] of the loss; the graph is kept."""
    if not part.requires_grad:  # the autoencoder's rate
        return [0.0] * len(part)
    found = torch.autograd.grad(part.sum(), weights, retain_graph=True, allow_unused=True)
    norms: list[float] = gradient_norms([g for g in found if g is not None]).tolist()
    return norms


def _read(tally: Tally) -> SplitReport | NonFiniteBatch:
    try:
        return tally.read()
    except NonFiniteBatch as bad:
        return bad
