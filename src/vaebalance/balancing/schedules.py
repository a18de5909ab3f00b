"""Balances that follow the step alone, and free bits."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vaebalance.balancing.balance import (
    OUT_OF_REACH,
    UNFINISHED,
    AbstractBalance,
    RunFacts,
    State,
    moving_average,
)
from vaebalance.base.reports import SplitReport
from vaebalance.base.verdicts import Verdict
from vaebalance.vae.elbo import ElboTerms, Weights
from vaebalance.vae.likelihoods import AbstractLikelihood

Shape = Literal["linear", "cosine", "sigmoid"]
SIGMOID_STEEPNESS = 6.0
"""The sigmoid ramp is the logistic function from −6 to 6, rescaled to start at 0 and end at 1."""
REACHED = 0.9
"""Share of its capacity that the rate must reach."""
WORTH = 0.05
"""Nats of α·D that each nat of capacity must save; below this, the rate rises without benefit."""


class Fixed(AbstractBalance):
    """The same α and β at every step."""

    for_more_rate: ClassVar[str] = "lower balance.beta, or raise balance.alpha"
    for_less_rate: ClassVar[str] = "raise balance.beta, or lower balance.alpha"
    kind: Literal["fixed"] = "fixed"
    alpha: float = Field(default=1.0, ge=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.alpha == 0 and self.beta == 0:
            raise ValueError("alpha and beta are both 0, so there is nothing to minimise")
        return self

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return the fixed α and β."""
        return Weights(self.alpha, self.beta)


class AbstractSchedule(AbstractBalance):
    """A rule that changes the weights for a duration and then keeps them."""

    share: float = Field(default=0.3, gt=0, le=1)
    """Duration as a share of the planned run, train.epochs."""
    steps: int | None = Field(default=None, ge=1)
    """Duration in optimizer updates, instead of share; null: share is used."""

    def initial_state(self, run: RunFacts) -> State:
        """Return the step count, the schedule's duration and the run's planned steps."""
        duration = self.steps or max(1, round(self.share * run.steps))
        return {
            "step": torch.tensor(0),
            "duration": torch.tensor(duration),
            "planned": torch.tensor(run.steps),
        }

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """Count one more step."""
        return state | {"step": state["step"] + 1}

    def settled(self, state: State) -> Tensor:
        """Return whether the schedule has taken all its steps."""
        return state["step"] >= state["duration"]

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Report a schedule that is longer than the run; this is known from the first step."""
        duration, planned = int(state["duration"]), int(state["planned"])
        if duration <= planned:
            return None
        return Verdict(
            UNFINISHED,
            f"The schedule takes {duration:,} steps but the run has only {planned:,}, so training "
            f"ends {planned / duration:.1%} of the way through it: α has reached "
            f"{epoch.alpha:.3g} and β {epoch.beta:.3g}.",
            "Lower balance.steps (or give balance.share instead), or raise train.epochs.",
        )


def ramp(shape: Shape, progress: Tensor) -> Tensor:
    """Map progress to a weight: 0 at progress ≤ 0, 1 at progress ≥ 1, and rising between."""
    at = progress.clamp(0.0, 1.0)
    if shape == "linear":
        return at
    if shape == "cosine":
        return 0.5 - 0.5 * torch.cos(math.pi * at)
    # σ(k(2t − 1)) = ½ + ½ tanh(k(2t − 1)/2), which is odd about t = ½
    half = SIGMOID_STEEPNESS / 2
    return 0.5 + 0.5 * torch.tanh(half * (2 * at - 1)) / math.tanh(half)


class WarmUp(AbstractSchedule):
    """One weight rises from `start` to its final value (Bowman et al. 2016); the other stays."""

    kind: Literal["warm_up"] = "warm_up"
    of: Literal["beta", "alpha"] = "beta"
    """The weight that changes. beta: begins as an autoencoder; alpha: begins by matching the
    prior."""
    shape: Shape = "linear"
    """linear | cosine | sigmoid"""
    start: float = Field(default=0.0, ge=0)
    """The changing weight at the first step; above its final value, the weight falls instead."""
    alpha: float = Field(default=1.0, gt=0)
    """Final weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Final weight of the rate."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α and β, one of them at start + (final − start)·ramp(step / duration)."""
        risen = ramp(self.shape, state["step"] / state["duration"])
        if self.of == "beta":
            return Weights(self.alpha, self.start + (self.beta - self.start) * risen)
        return Weights(self.start + (self.alpha - self.start) * risen, self.beta)


class Cyclical(AbstractSchedule):
    """β rises from 0 in several cycles, each a ramp followed by a constant β (Fu et al. 2019)."""

    kind: Literal["cyclical"] = "cyclical"
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate at the end of each cycle, and after the last one."""
    cycles: int = Field(default=4, ge=1)
    """Number of ramps within the duration."""
    ramp: float = Field(default=0.5, gt=0, le=1)
    """Share of each cycle in which β rises."""
    shape: Shape = "linear"
    """linear | cosine | sigmoid"""
    share: float = Field(default=1.0, gt=0, le=1)
    """Duration of all cycles as a share of the planned run, train.epochs."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α and β·ramp(position in the cycle / the ramp's share of the cycle)."""
        # In integers, so that each cycle begins at exactly the right step.
        position = (state["step"] * self.cycles) % state["duration"] / state["duration"]
        risen = torch.where(self.settled(state), 1.0, ramp(self.shape, position / self.ramp))
        return Weights(self.alpha, self.beta * risen)


class FreeBits(AbstractBalance):
    """Each group of latents has `nats` of rate that cost nothing (Kingma et al. 2016, eq. 15).

    The published loss is D + β·Σ_g max(λ, mean over the batch of R_g). Its gradient is that of a β
    which is 0 for the latents of every group at or below λ.
    """

    for_more_rate: ClassVar[str] = "raise balance.nats, or lower balance.beta"
    for_less_rate: ClassVar[str] = "lower balance.nats, or raise balance.beta"
    kind: Literal["free_bits"] = "free_bits"
    nats: float = Field(default=0.25, gt=0)
    """λ: mean rate of a group, in nats, below which its rate costs nothing."""
    group_size: int = Field(default=1, ge=1)
    """Number of latents with adjacent indices in a group; it must divide model.latent_size."""
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate of groups above λ."""

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Refuse a group size that does not divide the latents."""
        if latent_size % self.group_size == 0:
            return None
        return (
            f"balance.group_size = {self.group_size} does not divide model.latent_size = "
            f"{latent_size}; choose a divisor, or 1 for free bits per latent"
        )

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α and β [Z], which is 0 or `beta` and equal within each group."""
        rates = terms.rate_by_latent.mean(0).unflatten(0, (-1, self.group_size)).sum(1)
        costs = (rates > self.nats).to(rates.dtype)
        return Weights(self.alpha, self.beta * costs.repeat_interleave(self.group_size))


class Capacity(AbstractSchedule):
    """The rate is held at a capacity C that rises linearly from 0 (Burgess et al. 2018).

    The published loss is D + γ·|R − C|, with R the mean over the batch. Its gradient is that of
    β = γ·sign(R − C), so β is negative while the rate is below C.
    """

    for_more_rate: ClassVar[str] = "raise balance.capacity"
    for_less_rate: ClassVar[str] = "lower balance.capacity"
    negative_beta: ClassVar[bool] = True
    kind: Literal["capacity"] = "capacity"
    capacity: float = Field(ge=0)
    """Final C in nats per image; find it by trial, somewhat below the rate of a run at low β."""
    gamma: float = Field(default=10.0, gt=0)
    """γ; it must exceed the distortion that one nat of rate saves. A larger γ drowns D's gradient.

    (Papers use 100 to 1000. On MNIST at C = 25, D was 84, 97, 165 nats for γ = 5, 15, 100.)
    """
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Duration of the rise as a share of the planned run, train.epochs."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α and β = γ·sign(R − C)."""
        capacity = self.capacity * ramp("linear", state["step"] / state["duration"])
        return Weights(self.alpha, self.gamma * (terms.rate.mean() - capacity).sign())

    def initial_state(self, run: RunFacts) -> State:
        """Add the moving average of D: the latest, and at half and at all of the capacity."""
        names = ("average", "seen", "half", "full")
        return super().initial_state(run) | {name: torch.tensor(0.0) for name in names}

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """Count one more step and update the averages of D."""
        average = moving_average(state["average"], terms.distortion.mean())
        seen = moving_average(state["seen"], torch.ones_like(average))
        now, step = average / seen, state["step"]
        return super().next_state(state, terms) | {
            "average": average,
            "seen": seen,
            "half": torch.where(2 * step < state["duration"], now, state["half"]),
            "full": torch.where(step < state["duration"], now, state["full"]),
        }

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Report an unfinished schedule, or a capacity that is not reached or brings no benefit."""
        if unfinished := super().finding(state, epoch):
            return unfinished
        if not self.settled(state) or self.capacity == 0:
            return None
        worth = self.alpha * float(state["half"] - state["full"]) / (self.capacity / 2)
        if epoch.rate < REACHED * self.capacity:
            evidence = f"R is {epoch.rate:.4g} nats and the capacity {self.capacity:g}."
        elif worth < WORTH:
            evidence = (
                f"R is pushed up to {epoch.rate:.4g} nats for nothing: each nat in the second half "
                f"of the capacity, {self.capacity:g}, saved {worth:.2g} nats of α·D."
            )
        else:
            return None
        return Verdict(
            OUT_OF_REACH,
            evidence,
            "Lower balance.capacity to less than the rate of a run at low β; a model with a larger "
            "model.latent_size, or longer training, may use more.",
        )
