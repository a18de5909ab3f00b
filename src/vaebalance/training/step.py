"""The training step in one look: `train_step`.

`graph_steps` wraps that function to run it as one graph, recorded or compiled.
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
    """Result of a step, for the loop."""

    sums: Tensor  # [5 + components], see `running_means.batch_sums`
    weights: Weights  # used in this step
    state: State  # balance's state for the next step


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
    """Computes the terms of a training batch: see `precision.make_terms`."""
    step: Step | None = None
    """Takes the steps; None: `loop.train` makes a step that suits the settings."""
    threads: int | None = None
    """Number of CPU threads that the training uses; None: all."""

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.prior_mean.device

    def take_step(self, batch: Tensor) -> StepResult:
        """Train on a batch from `Images.batches` and update the balance's state."""
        assert self.step is not None  # see `loop.make_step`
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
        gradient_clip: largest norm of the whole gradient; None: no clipping.
        batch: images of this step, from `Images.batches`.
        state: the balance's state before this step.
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
    """Takes steps of one learner on its images, operation by operation."""

    def __init__(self, learner: Learner, images: Images, gradient_clip: float | None) -> None:
        """See `train_step`."""
        self._learner, self._images, self._clip = learner, images, gradient_clip
        learner.optimizer.zero_grad()  # a step accumulates gradients, and clears them afterwards

    def __call__(self, batch: Tensor, state: State) -> StepResult:
        """Take one optimizer step on a batch; `state` is the balance's state."""
        return train_step(self._learner, self._images, self._clip, batch, state)

    @property
    def status(self) -> str:
        """How the step runs, if the user should know; else empty."""
        return ""


def penalty_components(learner: Learner, terms: ElboTerms, images: int) -> Components:
    """Measure the components [] of the learner's penalty on a batch from a split of `images`."""
    assert terms.posterior is not None  # `elbo_terms` sets both
    assert terms.z is not None
    return learner.penalty.measure(Codes(terms.posterior, terms.z, learner.model.prior, images))


def backward(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Compute the gradients of the optimizer's weights, as `loss.backward()` does.

    Torch's compiler turns that call into an operation per weight that it cannot fuse, which takes a
    tenth of a small model's step. A compiled step therefore uses `torch.autograd.grad`.
    """
    if not torch.compiler.is_compiling():
        loss.backward()
        return
    weights = [weight for weight in optimized(optimizer) if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


def clip_gradients(optimizer: torch.optim.Optimizer, largest: float) -> None:
    """Scale the gradients so that their total norm is at most `largest`, as torch does."""
    gradients = [weight.grad for weight in optimized(optimizer) if weight.grad is not None]
    factor = (largest / (get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    # Multiplying by 1 takes a tenth of a small model's step. Reading the factor would make other
    # devices wait.
    is_readable = factor.device.type == "cpu" and not torch.compiler.is_compiling()
    if not is_readable or factor != 1:
        torch._foreach_mul_(gradients, factor)


def optimized(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    """Iterate over the weights of an optimizer."""
    return (weight for group in optimizer.param_groups for weight in group["params"])
