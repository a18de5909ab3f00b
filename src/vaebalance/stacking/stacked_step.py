"""One step of all learners in a stack, each with its own balance, penalty and clipping."""

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

    by_learner: list[Weights]
    alpha: Tensor  # [K]
    beta: Tensor  # [K, 1] or [K, Z]
    measured: list[ElboTerms | None]  # terms that each balance read; None: it read none

    def terms(self, terms: ElboTerms) -> tuple[Tensor, Tensor]:
        """Return (α·D, β·R) of each learner, averaged over its batch: [K] each."""
        weighted_rate = (self.beta * terms.rate_by_latent.mean(1)).sum(1)
        return self.alpha * terms.distortion.mean(1), weighted_rate


def weigh(
    learners: Sequence[Learner], states: Sequence[State], stacked: StackedTerms
) -> StackedWeights:
    """Return the weights that each learner's balance sets for its terms."""
    measured = [
        None if isinstance(learner.balance, Fixed) else stacked.of(slot, learner).detach()
        for slot, learner in enumerate(learners)
    ]
    weights = [
        learner.balance.weights(state, terms or stacked.terms)
        for learner, state, terms in zip(learners, states, measured, strict=True)
    ]
    like = stacked.terms.distortion
    # On a CUDA device fill tensors with the numbers: unlike copies from the host, fills can be
    # recorded. Elsewhere one copy of all numbers is faster.
    are_numbers = not any(isinstance(weight, Tensor) for pair in weights for weight in pair)
    if are_numbers and not like.is_cuda:
        alpha, beta = torch.tensor(weights, dtype=like.dtype, device=like.device).unbind(1)
        return StackedWeights(weights, alpha, beta[:, None], measured)
    alphas = [_on_device(pair.alpha, like) for pair in weights]
    betas = [_on_device(pair.beta, like) for pair in weights]
    beta = torch.stack(torch.broadcast_tensors(*(beta.reshape(-1) for beta in betas)))
    return StackedWeights(weights, torch.stack(alphas), beta, measured)


def _on_device(weight: float | Tensor, like: Tensor) -> Tensor:
    return weight.to(like) if isinstance(weight, Tensor) else like.new_full((), weight)


def row_sums(terms: ElboTerms, parts: tuple[Tensor, Tensor]) -> Tensor:
    """Return `running_means.batch_sums` [K, 5] of the learners, given (α·D, β·R) as `parts`."""
    distortion, rates = terms.distortion.detach(), terms.rate_by_latent.detach()
    images = distortion.shape[1]
    weighted = (images * part.detach() for part in parts)
    sums = [distortion.sum(1), distortion.square().sum(1), rates.sum((1, 2)), *weighted]
    return torch.stack(sums, 1)


class StackedStep:
    """`step.train_step` for all learners of a stack.

    On a CUDA device it can be recorded, as the step of a single learner, with identical results.
    """

    def __init__(
        self, stack: Stack, clips: Sequence[float | None], images: int, *, is_recorded: bool
    ) -> None:
        """Make the step of a stack.

        Args:
            stack: the learners; its slots must not change.
            clips: largest norm of each learner's gradient; None: no clipping.
            images: number of training images.
            is_recorded: whether to record the step; only on a CUDA device.
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
        """Whether the step is recorded, or will be at a later call."""
        return self._recorded is not None

    def __call__(self, x: Tensor, noise: Tensor) -> list[tuple[Tensor, Weights]]:
        """Take a step; return the `batch_sums` and the weights used of each learner.

        Args:
            x: see `Stack.terms`.
            noise: see `Stack.terms`.
        """
        learners = self._stack.learners
        result = self._run(x, noise, *(learner.balance_state for learner in learners))
        for learner, state in zip(learners, result.states, strict=True):
            learner.balance_state = state
        costs = result.costs or [x.new_empty(0)] * len(learners)
        rows = [
            torch.cat([sums, cost]) if len(cost) else sums
            for sums, cost in zip(result.sums, costs, strict=True)
        ]
        return list(zip(rows, result.weights, strict=True))

    def _run(self, x: Tensor, noise: Tensor, *states: State) -> _Result:
        if self._shape is None:
            self._shape = x.shape
        # The last batch of an epoch may be smaller.
        if self._recorded is not None and x.shape == self._shape:
            try:
                result: _Result = self._recorded(x, noise, *states)
                return result
            except RecordingError as error:  # raised before anything is changed
                reason = reason_of(error)
                warnings.warn(f"the training step is not recorded: {reason}", stacklevel=1)
                self._recorded = None
        return self._take(x, noise, *states)

    def _take(self, x: Tensor, noise: Tensor, *states: State) -> _Result:
        learners = self._stack.learners
        stacked = self._stack.terms(x, noise, in_bf16=self._in_bf16)
        weights = weigh(learners, states, stacked)
        parts = weights.terms(stacked.terms)
        loss = torch.stack(parts).sum()
        costs: list[Tensor] = []
        if any(learner.penalty.coefficients() for learner in learners):
            for slot, learner in enumerate(learners):
                terms = stacked.of(slot, learner)
                components = penalty_components(learner, terms, self._images)
                loss = loss + learner.penalty.weighted(components)
                sums = [x.shape[1] * value.detach() for value in components.values()]
                costs.append(torch.stack(sums) if sums else x.new_empty(0))
        self._stack.step(loss, self._clips)
        after = [
            state if measured is None else learner.balance.next_state(state, measured)
            for learner, state, measured in zip(learners, states, weights.measured, strict=True)
        ]
        return _Result(row_sums(stacked.terms, parts), costs, weights.by_learner, after)


class _Result(NamedTuple):
    """Result of a step."""

    sums: Tensor  # [K, 5]
    costs: list[Tensor]  # sums [components] of each learner's penalty; empty: no penalties
    weights: list[Weights]
    states: list[State]  # the balances' states after the step
