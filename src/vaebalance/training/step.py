"""The training step in one look: `train_step`.

A step that runs as one graph, recorded or compiled, wraps that function: see `graph_steps`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from vaebalance.balancing import AbstractBalance, State
from vaebalance.balancing.penalties import AbstractPenalty, Codes, Components, NoPenalty
from vaebalance.data import to_pixels
from vaebalance.training.loader import Images
from vaebalance.training.precision import Terms
from vaebalance.training.running_means import batch_sums
from vaebalance.vae.elbo import ElboTerms, Weights, elbo_terms, weighted_loss
from vaebalance.vae.model import VAE


class StepResult(NamedTuple):
    """What a step returns to the loop."""

    sums: Tensor  # [5 + components]: see `tally.batch_sums`
    weights: Weights  # used in this step
    state: State  # of the balance, for the next step


@dataclass
class Learner:
    """A model and everything that trains it.

    A checkpoint holds the state of the model, the optimizer and the balance.
    """

    model: VAE
    optimizer: torch.optim.Optimizer
    balance: AbstractBalance
    balance_state: State
    penalty: AbstractPenalty = field(default_factory=NoPenalty)
    terms: Terms = elbo_terms
    """Computes the terms of a training batch: see `arithmetic`."""
    step: Step | None = None
    """Takes the steps; None: `training.train` makes a step that suits the settings."""
    threads: int | None = None
    """Threads that the training runs on; None: all."""

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.prior_mean.device

    def take_step(self, batch: Tensor) -> StepResult:
        """Train on a batch of `Images.batches`, and keep the next state of the balance."""
        assert self.step is not None  # see `training.make_step`
        result = self.step(batch, self.balance_state)
        self.balance_state = result.state
        return result


def train_step(
    learner: Learner, images: Images, gradient_clip: float | None, batch: Tensor, state: State
) -> StepResult:
    """Take one optimizer step.

    Args:
        learner: the model and everything that trains it; any optimizer.
        images: the training images.
        gradient_clip: the largest norm of the whole gradient; None: no clipping.
        batch: the images of this step, as `Images.batches` gives them.
        state: of the balance, before this step.
    """
    x = to_pixels(images.read(batch), images.binarisation)
    terms = learner.terms(learner.model, x)
    measured = terms.detach()
    weights = learner.balance.weights(state, measured)
    components = penalty_components(learner, terms, len(images))
    loss = weighted_loss(terms, weights) + learner.penalty.weighted(components)
    backward(loss, learner.optimizer)
    if gradient_clip is not None:
        clip_gradients(learner.optimizer, gradient_clip)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    next_state = learner.balance.next_state(state, measured)
    return StepResult(batch_sums(measured, weights, components), weights, next_state)


class Step:
    """`train_step` of one learner on its images, operation by operation."""

    def __init__(self, learner: Learner, images: Images, gradient_clip: float | None) -> None:
        """See `train_step`."""
        self._learner, self._images, self._clip = learner, images, gradient_clip
        learner.optimizer.zero_grad()  # a step adds to the gradients that it finds, and leaves none

    def __call__(self, batch: Tensor, state: State) -> StepResult:
        """Take one optimizer step on a batch, with the balance in `state`."""
        return train_step(self._learner, self._images, self._clip, batch, state)

    @property
    def status(self) -> str:
        """How the step runs, where that is worth a line to the user; else empty."""
        return ""


def penalty_components(learner: Learner, terms: ElboTerms, images: int) -> Components:
    """Measure the learner's penalty on a batch of a split of so many images: [] each."""
    assert terms.posterior is not None  # `elbo_terms` gives both
    assert terms.z is not None
    return learner.penalty.measure(Codes(terms.posterior, terms.z, learner.model.prior, images))


def backward(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Compute the gradients of the optimizer's weights: `loss.backward()`.

    Torch's compiler would turn that call into an operation for each weight that it cannot fuse, a
    tenth of a small model's step, so that a compiled step takes the gradients by themselves.
    """
    if not torch.compiler.is_compiling():
        loss.backward()
        return
    weights = [weight for weight in optimized(optimizer) if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


def clip_gradients(optimizer: torch.optim.Optimizer, largest: float) -> None:
    """Scale the gradients so that their common norm is at most `largest`, as torch does."""
    gradients = [weight.grad for weight in optimized(optimizer) if weight.grad is not None]
    factor = (largest / (get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    # Products by 1 are a tenth of a small model's step. (Looking would make other devices wait.)
    looks = factor.device.type == "cpu" and not torch.compiler.is_compiling()
    if not looks or factor != 1:
        torch._foreach_mul_(gradients, factor)


def optimized(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    """Iterate over the weights of an optimizer."""
    return (weight for group in optimizer.param_groups for weight in group["params"])
