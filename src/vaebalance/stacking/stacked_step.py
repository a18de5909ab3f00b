"""One update of all learners of a stack: each with its own weights, penalty and clipping."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vaebalance.balancing import Fixed, State
from vaebalance.stacking.stack import Stack, StackedTerms
from vaebalance.training.cuda_graphs import Recorded, RecordingError
from vaebalance.training.graph_steps import reason_of
from vaebalance.training.precision import bf16_terms
from vaebalance.training.step import Learner, penalty_components
from vaebalance.vae.elbo import ElboTerms, Weights


@dataclass(frozen=True)
class StackedWeights:
    """α and β of K learners."""

    own: list[Weights]
    alpha: Tensor  # [K]
    beta: Tensor  # [K, 1] or [K, Z]
    measured: list[ElboTerms | None]  # what each balance looked at; None: at nothing

    def terms(self, terms: ElboTerms) -> tuple[Tensor, Tensor]:
        """(α·D, β·R) of each, averaged over its batch: [K] each."""
        weighted_rate = (self.beta * terms.rate_by_latent.mean(1)).sum(1)
        return self.alpha * terms.distortion.mean(1), weighted_rate


def weigh(
    learners: Sequence[Learner], states: Sequence[State], found: StackedTerms
) -> StackedWeights:
    """What each learner's balance, in its state, says of its terms."""
    measured = [
        None if isinstance(learner.balance, Fixed) else found.of(slot, learner).detach()
        for slot, learner in enumerate(learners)
    ]
    own = [
        learner.balance.weights(state, terms or found.terms)
        for learner, state, terms in zip(learners, states, measured, strict=True)
    ]
    like = found.terms.distortion
    # A number written on a CUDA device, not copied to it, can be recorded there. Elsewhere one copy
    # of all is the faster.
    are_numbers = not any(isinstance(weight, Tensor) for weights in own for weight in weights)
    if are_numbers and not like.is_cuda:
        alpha, beta = torch.tensor(own, dtype=like.dtype, device=like.device).unbind(1)
        return StackedWeights(own, alpha, beta[:, None], measured)
    alphas = [_on_device(weights.alpha, like) for weights in own]
    betas = [_on_device(weights.beta, like) for weights in own]
    beta = torch.stack(torch.broadcast_tensors(*(beta.reshape(-1) for beta in betas)))
    return StackedWeights(own, torch.stack(alphas), beta, measured)


def _on_device(weight: float | Tensor, like: Tensor) -> Tensor:
    return weight.to(like) if isinstance(weight, Tensor) else like.new_full((), weight)


def row_sums(terms: ElboTerms, parts: tuple[Tensor, Tensor]) -> Tensor:
    """`tally.batch_sums` of each learner, [K, 5], by its weighted parts."""
    distortion, rates = terms.distortion.detach(), terms.rate_by_latent.detach()
    images = distortion.shape[1]
    weighted = (images * part.detach() for part in parts)
    sums = [distortion.sum(1), distortion.square().sum(1), rates.sum((1, 2)), *weighted]
    return torch.stack(sums, 1)


class StackedStep:
    """`updates.train_step` of all learners of a stack.

    Recorded on a CUDA device, as a lone learner's is: the same kernels, the same numbers.
    """

    def __init__(
        self, stack: Stack, clips: Sequence[float | None], images: int, *, is_recorded: bool
    ) -> None:
        """Begin.

        Args:
            stack: stays as it is for as long as this is called.
            clips: largest norm of each learner's gradient; None: no clipping.
            images: that are trained on.
            is_recorded: whether the step is recorded; only on a CUDA device.
        """
        self._stack, self._images = stack, images
        self._in_bf16 = stack.learners[0].terms is bf16_terms
        self._clips = None
        if any(clip is not None for clip in clips):
            limits = [math.inf if clip is None else clip for clip in clips]
            self._clips = torch.tensor(limits, device=stack.learners[0].device)
        self._recorded = Recorded(self._take) if is_recorded else None
        self._shape: torch.Size | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether it is, or will be."""
        return self._recorded is not None

    def __call__(self, x: Tensor, noise: Tensor) -> list[tuple[Tensor, Weights]]:
        """One update; of each learner its `tally.batch_sums`, and the weights that were used.

        Args:
            x: as `Stack.terms`.
            noise: likewise.
        """
        learners = self._stack.learners
        found = self._run(x, noise, *(learner.balance_state for learner in learners))
        for learner, state in zip(learners, found.states, strict=True):
            learner.balance_state = state
        costs = found.costs or [x.new_empty(0)] * len(learners)
        rows = [
            torch.cat([sums, cost]) if len(cost) else sums
            for sums, cost in zip(found.sums, costs, strict=True)
        ]
        return list(zip(rows, found.weights, strict=True))

    def _run(self, x: Tensor, noise: Tensor, *states: State) -> _Taken:
        if self._shape is None:
            self._shape = x.shape
        if self._recorded is not None and x.shape == self._shape:  # an epoch's last may be odd
            try:
                taken: _Taken = self._recorded(x, noise, *states)
                return taken
            except RecordingError as error:  # raised before anything is changed
                reason = reason_of(error)
                warnings.warn(f"the training step is not recorded: {reason}", stacklevel=1)
                self._recorded = None
        return self._take(x, noise, *states)

    def _take(self, x: Tensor, noise: Tensor, *states: State) -> _Taken:
        learners = self._stack.learners
        found = self._stack.terms(x, noise, in_bf16=self._in_bf16)
        weights = weigh(learners, states, found)
        parts = weights.terms(found.terms)
        loss = torch.stack(parts).sum()
        costs: list[Tensor] = []
        if any(learner.penalty.coefficients() for learner in learners):
            for slot, learner in enumerate(learners):
                codes = found.of(slot, learner)
                components = penalty_components(learner, codes, self._images)
                loss = loss + learner.penalty.weighted(components)
                measured = [x.shape[1] * value.detach() for value in components.values()]
                costs.append(torch.stack(measured) if measured else x.new_empty(0))
        self._stack.step(loss, self._clips)
        after = [
            state if terms is None else learner.balance.next_state(state, terms)
            for learner, state, terms in zip(learners, states, weights.measured, strict=True)
        ]
        return _Taken(row_sums(found.terms, parts), costs, weights.own, after)


class _Taken(NamedTuple):
    """What an update tells."""

    sums: Tensor  # [K, 5]
    costs: list[Tensor]  # [components] of each learner's penalty, summed; empty: no one has any
    weights: list[Weights]
    states: list[State]  # of the balances, after it
