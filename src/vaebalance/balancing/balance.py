"""The interface of a balance: what sets α and β at each step.

A balance sets the weights and never touches the loss, so the weights that are logged are the
weights that were used. It is immutable: whatever it remembers between steps or knows about the run
is in an explicit state of tensors, which checkpoints save. A *schedule* depends on the step alone;
a *controller* reacts to the terms of each batch.

Only the ratio α/β matters to the optimum. Rates, distortions and targets are in nats per image
unless a name says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vaebalance.base.reports import SplitReport
from vaebalance.base.specs import Spec
from vaebalance.base.verdicts import Verdict
from vaebalance.vae.elbo import ElboTerms, Weights
from vaebalance.vae.likelihoods import AbstractLikelihood

State = dict[str, Tensor]
SMOOTHING = 0.99
"""Weight of the past in moving averages (Rezende & Viola 2018)."""
UNFINISHED = "warm-up never finished"
OUT_OF_REACH = "target out of reach"
NOT_HELD = "target not held"


@dataclass(frozen=True)
class RunFacts:
    """What a balance knows about the run that it balances."""

    dimensions: int  # n = C·H·W
    latent_size: int  # Z
    steps: int  # optimizer updates planned
    steps_per_epoch: int = 1  # where the loop has no epochs, each step is one
    sigma: float | None = None  # of a Gaussian likelihood of fixed σ; None: another likelihood


class AbstractBalance(Spec, ABC):
    """A rule that sets α and β."""

    for_more_rate: ClassVar[str] = "lower balance.beta"
    """How to change the settings so that the codes carry more."""
    for_less_rate: ClassVar[str] = "raise balance.beta"
    """How to change the settings so that the codes carry less."""

    negative_beta: ClassVar[bool] = False
    """Whether β may be below 0, which raises the rate."""

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Return why the rule cannot balance this model, with a remedy; None: it can."""
        return None

    def initial_state(self, run: RunFacts) -> State:
        """Return the state before the first step; empty for a rule without memory."""
        return {}

    @abstractmethod
    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α and β for this step; `terms` are detached."""

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """Return the state after this step; called once per step."""
        return state

    def settled(self, state: State) -> Tensor:
        """Return whether the schedule has ended or the target is held: [] bool.

        Until then early stopping waits. If a later epoch is settled, no earlier one counts as best.
        """
        return torch.ones((), dtype=torch.bool)

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Return what keeps the rule from doing what it was set to do; None: nothing.

        Args:
            state: state after the epoch's last step.
            epoch: the epoch's means over training images.
        """
        return None


def moving_average(past: Tensor, now: Tensor) -> Tensor:
    """Return the next value of a moving average."""
    return SMOOTHING * past + (1 - SMOOTHING) * now
