"""Who sets α and β at each step.

A balance sets weights and never touches the loss, so that what is logged is what was used. It is
immutable; what it must remember between steps, and what it knows of the run, is an explicit state
of tensors, which a checkpoint holds. A *schedule* goes by the step alone; a *controller* looks at
the terms of each batch. A new rule is one class here and its name in `Balance`.

Only the ratio α/β matters to the optimum. Rates, distortions and targets are in nats per image
unless a name says otherwise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vaebalance.base.reports import SplitReport
from vaebalance.base.specs import Spec
from vaebalance.base.verdicts import Verdict
from vaebalance.vae.elbo import ElboTerms, Weights
from vaebalance.vae.likelihoods import AbstractLikelihood, Gaussian

State = dict[str, Tensor]

Shape = Literal["linear", "cosine", "sigmoid"]

SIGMOID_STEEPNESS = 6.0
"""The sigmoid ramp is the logistic function from −6 to 6, stretched to start at 0 and end at 1."""
SMOOTHING = 0.99
"""Weight of the past in a controller's moving averages (Rezende & Viola 2018)."""
TOLERANCE = 0.02
"""A controller holds its target when its smoothed error is within this share of it."""
NEWEST = 0.1
"""Weight of the newest error in GECO's quicker average, some 90 steps ahead of the other."""
GAINING = 0.25
"""Share of the error that must have gone in those steps for GECO to leave it to the training."""
STEADY = 0.25
"""GECO's smoothed constraint, of at most 1, below which its multiplier is about at rest."""
GECO_RATIOS = (1e-6, 1e6)
"""Bounds of GECO's α/β; at a bound its target is out of reach."""
LEAST_SQUARED_ERROR = math.exp(-12)
"""Per dimension; below it σ would be under e⁻⁶, σ-VAE's own limit."""
LARGEST_EXPONENT = 50.0
AT_BOUND = 0.01
"""Share of ControlVAE's range of β within which it is at a bound."""
REACHED = 0.9
"""Share of a capacity that the rate must come to."""
WORTH = 0.05
"""Nats of α·D that a nat of capacity must save; below, the rate is only pushed up."""

UNFINISHED = "warm-up never finished"
OUT_OF_REACH = "target out of reach"
NOT_HELD = "target not held"


@dataclass(frozen=True)
class RunFacts:
    """What a balance may know of the run that it balances."""

    dimensions: int  # n = C·H·W
    latent_size: int  # Z
    steps: int  # optimizer updates planned
    steps_per_epoch: int = 1  # where the loop has no epochs, each step is one
    sigma: float | None = None  # of a Gaussian likelihood with a fixed σ; None: it is another


class AbstractBalance(Spec, ABC):
    """A rule for α and β."""

    for_more_rate: ClassVar[str] = "lower balance.beta"
    """The knob to turn where the code should carry more."""
    for_less_rate: ClassVar[str] = "raise balance.beta"
    """The knob to turn where the code carries too much."""
    negative_beta: ClassVar[bool] = False
    """Whether β may be below 0, which raises the rate."""

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Why it cannot balance such a model of such pixels, and what can; None: it can."""
        return None

    def initial_state(self, run: RunFacts) -> State:
        """The state before the first step; empty for a rule without memory."""
        return {}

    @abstractmethod
    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """α and β for this step; `terms` are detached."""

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """The state after this step, called once a step."""
        return state

    def settled(self, state: State) -> Tensor:
        """Whether the schedule is over or the target is held: [] bool.

        Until then early stopping waits, and no epoch counts as the best if a later one is settled.
        """
        return torch.ones((), dtype=torch.bool)

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Return what keeps the rule from its schedule or target; None: nothing.

        Args:
            state: after the epoch's last step.
            epoch: the epoch's means over training images.
        """
        return None


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
        """The two numbers."""
        return Weights(self.alpha, self.beta)


class AbstractSchedule(AbstractBalance):
    """A rule that goes by the step: on its way for a duration, then at rest."""

    share: float = Field(default=0.3, gt=0, le=1)
    """Duration as a share of the planned run, train.epochs."""
    steps: int | None = Field(default=None, ge=1)
    """Duration in optimizer updates, in the place of share; null: share counts."""

    def initial_state(self, run: RunFacts) -> State:
        """The steps taken, and how many the schedule and the run have."""
        duration = self.steps or max(1, round(self.share * run.steps))
        return {
            "step": torch.tensor(0),
            "duration": torch.tensor(duration),
            "planned": torch.tensor(run.steps),
        }

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """One step more."""
        return state | {"step": state["step"] + 1}

    def settled(self, state: State) -> Tensor:
        """Whether all steps of the schedule are taken."""
        return state["step"] >= state["duration"]

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Find a schedule longer than the run, which is known from the first step."""
        duration, planned = int(state["duration"]), int(state["planned"])
        if duration <= planned:
            return None
        return Verdict(
            UNFINISHED,
            f"The schedule takes {duration:,} steps and the whole run has {planned:,}, so that it "
            f"ends {planned / duration:.1%} of the way: α has come to {epoch.alpha:.3g} and β to "
            f"{epoch.beta:.3g}.",
            "Lower balance.steps (or give balance.share in its place), or raise train.epochs.",
        )


def ramp(shape: Shape, progress: Tensor) -> Tensor:
    """From 0 at progress ≤ 0 to 1 at progress ≥ 1, rising throughout."""
    at = progress.clamp(0.0, 1.0)
    if shape == "linear":
        return at
    if shape == "cosine":
        return 0.5 - 0.5 * torch.cos(math.pi * at)
    # σ(k(2t − 1)) = ½ + ½ tanh(k(2t − 1)/2), which is odd about t = ½
    half = SIGMOID_STEEPNESS / 2
    return 0.5 + 0.5 * torch.tanh(half * (2 * at - 1)) / math.tanh(half)


class WarmUp(AbstractSchedule):
    """One weight rises from `start` to its value (Bowman et al. 2016); the other stands."""

    kind: Literal["warm_up"] = "warm_up"
    of: Literal["beta", "alpha"] = "beta"
    """The weight that moves. beta: first an autoencoder; alpha: first the prior."""
    shape: Shape = "linear"
    """linear | cosine | sigmoid"""
    start: float = Field(default=0.0, ge=0)
    """The moving weight at the first step; above its final value it cools instead."""
    alpha: float = Field(default=1.0, gt=0)
    """Final weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Final weight of the rate."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """The one that moves: start + (final − start)·ramp(step / duration)."""
        risen = ramp(self.shape, state["step"] / state["duration"])
        if self.of == "beta":
            return Weights(self.alpha, self.start + (self.beta - self.start) * risen)
        return Weights(self.start + (self.alpha - self.start) * risen, self.beta)


class Cyclical(AbstractSchedule):
    """β rises from 0 in several cycles, each a ramp and a rest at β (Fu et al. 2019)."""

    kind: Literal["cyclical"] = "cyclical"
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate at a cycle's end, and after the last cycle."""
    cycles: int = Field(default=4, ge=1)
    """Ramps within the duration."""
    ramp: float = Field(default=0.5, gt=0, le=1)
    """Share of a cycle in which β rises."""
    shape: Shape = "linear"
    """linear | cosine | sigmoid"""
    share: float = Field(default=1.0, gt=0, le=1)
    """Duration of all cycles as a share of the planned run, train.epochs."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """β·ramp(place in the cycle / ramp's share of it)."""
        # In whole numbers, so that a cycle begins exactly where it should.
        place = (state["step"] * self.cycles) % state["duration"] / state["duration"]
        risen = torch.where(self.settled(state), 1.0, ramp(self.shape, place / self.ramp))
        return Weights(self.alpha, self.beta * risen)


class FreeBits(AbstractBalance):
    """Each group of latents has `nats` of rate for free (Kingma et al. 2016, eq. 15).

    The published loss is D + β·Σ_g max(λ, mean over the batch of R_g); its gradient is that of a β
    which is 0 for the latents of a group at or below λ.
    """

    for_more_rate: ClassVar[str] = "raise balance.nats, or lower balance.beta"
    for_less_rate: ClassVar[str] = "lower balance.nats, or raise balance.beta"
    kind: Literal["free_bits"] = "free_bits"
    nats: float = Field(default=0.25, gt=0)
    """λ: mean rate of a group below which it weighs nothing, in nats."""
    group_size: int = Field(default=1, ge=1)
    """Latents in a group, neighbours by index; it must divide model.latent_size."""
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate of a group above λ."""

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Groups must come out even."""
        if latent_size % self.group_size == 0:
            return None
        return (
            f"balance.group_size = {self.group_size} does not divide model.latent_size = "
            f"{latent_size}; choose a divisor, or 1 for free bits per latent"
        )

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """β [Z]: 0 or `beta`, alike within a group."""
        rates = terms.rate_by_latent.mean(0).unflatten(0, (-1, self.group_size)).sum(1)
        pays = (rates > self.nats).to(rates.dtype)
        return Weights(self.alpha, self.beta * pays.repeat_interleave(self.group_size))


class Capacity(AbstractSchedule):
    """The rate is held at a capacity C that rises linearly from 0 (Burgess et al. 2018).

    The published loss is D + γ·|R − C|, R the batch's mean; its gradient is that of
    β = γ·sign(R − C), so β is negative while the rate is below C.
    """

    for_more_rate: ClassVar[str] = "raise balance.capacity"
    for_less_rate: ClassVar[str] = "lower balance.capacity"
    negative_beta: ClassVar[bool] = True
    kind: Literal["capacity"] = "capacity"
    capacity: float = Field(ge=0)
    """Final C in nats per image: by trial, somewhat below the rate of a run at low β."""
    gamma: float = Field(default=10.0, gt=0)
    """γ; it must exceed the distortion saved by one nat of rate, and more drowns D's gradient.

    (Papers have 100 to 1000. On MNIST at C = 25, D was 84, 97, 165 nats for γ = 5, 15, 100.)
    """
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Duration of the rise as a share of the planned run, train.epochs."""

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """α, and γ·sign(R − C)."""
        capacity = self.capacity * ramp("linear", state["step"] / state["duration"])
        return Weights(self.alpha, self.gamma * (terms.rate.mean() - capacity).sign())

    def initial_state(self, run: RunFacts) -> State:
        """The schedule's, and D's moving average: now, at half and at all of the capacity."""
        names = ("average", "seen", "half", "full")
        return super().initial_state(run) | {name: torch.tensor(0.0) for name in names}

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """One step more."""
        average = _average(state["average"], terms.distortion.mean())
        seen = _average(state["seen"], torch.ones_like(average))
        now, step = average / seen, state["step"]
        return super().next_state(state, terms) | {
            "average": average,
            "seen": seen,
            "half": torch.where(2 * step < state["duration"], now, state["half"]),
            "full": torch.where(step < state["duration"], now, state["full"]),
        }

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Find a schedule that does not end, or a capacity out of reach or of no use."""
        if unfinished := super().finding(state, epoch):
            return unfinished
        if not self.settled(state) or self.capacity == 0:
            return None
        worth = self.alpha * float(state["half"] - state["full"]) / (self.capacity / 2)
        if epoch.rate < REACHED * self.capacity:
            evidence = f"R is {epoch.rate:.4g} nats and the capacity {self.capacity:g}."
        elif worth < WORTH:
            evidence = (
                f"R is pushed up to {epoch.rate:.4g} nats for nothing: each of the second half of "
                f"the capacity, {self.capacity:g}, saved {worth:.2g} nats of α·D."
            )
        else:
            return None
        return Verdict(
            OUT_OF_REACH,
            evidence,
            "Lower balance.capacity to less than the rate of a run at low β; a larger "
            "model.latent_size, or a longer training, may use more.",
        )


class Geco(AbstractBalance):
    """The least rate at a target of the reconstructions (Rezende & Viola 2018).

    λ = α/β is the multiplier of the constraint: each step multiplies it by exp(speed·C), C the
    moving average of the constraint, positive while reconstructions are worse than the target and
    cut to ±1. For RMSE and PSNR it is 10·log(RMSE/target): a tenth off is 1. For D it is
    λ·(D − target)/Z: at an optimum λ·D falls by about half a nat per used latent and unit of log λ,
    so that one speed suits every likelihood and image size; (D − target)/n, which is usual, needs
    another speed for each. λ does not grow while the reconstructions come nearer by themselves, as
    they do when training begins: it would wind up, and drive them far past the target.
    The larger of α and β is 1: the loss, and what gradient clipping sees of it, keeps its scale.
    """

    for_more_rate: ClassVar[str] = (
        "lower the target (balance.distortion, bits_per_dim or rmse; raise balance.psnr)"
    )
    for_less_rate: ClassVar[str] = (
        "raise the target (balance.distortion, bits_per_dim or rmse; lower balance.psnr)"
    )
    kind: Literal["geco"] = "geco"
    distortion: float | None = None
    """Target of D, in nats per image."""
    bits_per_dim: float | None = None
    """Target of D in bits per dimension, for a discrete likelihood."""
    rmse: float | None = Field(default=None, gt=0)
    """Target of the reconstructions' RMSE, in pixel values of the unit range."""
    psnr: float | None = Field(default=None, gt=0)
    """Target of the reconstructions' PSNR in dB, of the mean squared error over all images."""
    speed: float = Field(default=0.01, gt=0)
    """η: how fast the multiplier follows."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        _exactly_one(self, "distortion", "bits_per_dim", "rmse", "psnr")
        return self

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """A density has no bits/dim."""
        if self.bits_per_dim is None or likelihood.is_mass(binarised=binarised):
            return None
        return (
            f"balance.bits_per_dim = {self.bits_per_dim:g}: bits/dim is defined where the "
            "likelihood is a probability mass over the pixels, which it is not here; give the "
            "target as distortion (nats per image), rmse or psnr"
        )

    def initial_state(self, run: RunFacts) -> State:
        """The multiplier λ (its log), the moving averages, and the target of D or of log RMSE."""
        target, tolerance = self._target(run)
        return {
            "log_ratio": torch.tensor(0.0),
            "constraint": torch.tensor(0.0),
            "newest": torch.tensor(0.0),
            **_watch(target, tolerance),
            "dimensions": torch.tensor(float(run.dimensions)),
            "latents": torch.tensor(float(run.latent_size)),
        }

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """α = min(1, λ), β = min(1, 1/λ)."""
        ratio = state["log_ratio"].exp()
        return Weights(ratio.clamp(max=1.0), ratio.reciprocal().clamp(max=1.0))

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """λ as the constraint's moving average says."""
        error = self._measure(state, terms) - state["target"]
        constraint = 10 * error
        if self._is_of_distortion:
            constraint = error * state["log_ratio"].exp() / state["latents"]
        average = _average(state["constraint"], constraint.clamp(-1.0, 1.0))
        watched = _watched(state, error)
        newest = torch.lerp(state["newest"], error, NEWEST)
        gain = watched["error"] / watched["seen"] - newest
        comes_by_itself = (newest > 0) & (gain > GAINING * newest)
        growth = self.speed * torch.where(comes_by_itself, average.clamp(max=0.0), average)
        low, high = (math.log(bound) for bound in GECO_RATIOS)
        log_ratio = (state["log_ratio"] + growth).clamp(low, high)
        return watched | {"constraint": average, "newest": newest, "log_ratio": log_ratio}

    def settled(self, state: State) -> Tensor:
        """Whether the target is held within 2% and the multiplier is about at rest.

        (A multiplier far too large passes the target, too, on its way beyond.)
        """
        return _is_held(state) & (state["constraint"].abs() <= STEADY)

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Find a multiplier at its bound, or a target that is not held (yet)."""
        if self.settled(state):
            return None
        ratio, found = state["log_ratio"].exp(), self._in_its_unit(_smoothed(state))
        now = f"is {found} and the target {self._in_its_unit(float(state['target']))}"
        low, high = (math.isclose(float(ratio), bound, rel_tol=1e-3) for bound in GECO_RATIOS)
        if high:
            return Verdict(
                OUT_OF_REACH,
                f"α/β stands at its upper bound, {GECO_RATIOS[1]:g}, while the reconstruction "
                f"{now}: this is a plain autoencoder, and still not good enough.",
                f"First {self.for_less_rate}; or give the model more (model.latent_size, "
                "model.architecture) or a longer training (train.epochs).",
            )
        if low:
            return Verdict(
                OUT_OF_REACH,
                f"α/β stands at its lower bound, {GECO_RATIOS[0]:g}, and the reconstruction {now}: "
                "it is better than was asked for even where it hardly weighs.",
                f"The knob: {self.for_more_rate}.",
            )
        return Verdict(
            NOT_HELD,
            f"The reconstruction {now}, with α/β at {float(ratio):.3g} and on its way.",
            "Raise train.epochs, or balance.speed.",
        )

    def _in_its_unit(self, measure: float) -> str:
        """D, or log RMSE, as the target was given."""
        if self.rmse is not None:
            return f"RMSE {math.exp(measure):.4g}"
        if self.psnr is not None:
            return f"{-20 * measure / math.log(10):.4g} dB"
        return f"D {measure:.4g} nats"

    @property
    def _is_of_distortion(self) -> bool:
        return self.rmse is None and self.psnr is None

    def _measure(self, state: State, terms: ElboTerms) -> Tensor:
        """D, or log RMSE: []."""
        if self._is_of_distortion:
            return terms.distortion.mean()
        mse = terms.squared_error.mean() / state["dimensions"]
        return 0.5 * mse.clamp(min=LEAST_SQUARED_ERROR).log()

    def _target(self, run: RunFacts) -> tuple[float, float]:
        """What `_measure` shall be, and how far it may be off."""
        if self.rmse is not None:
            return math.log(self.rmse), TOLERANCE
        if self.psnr is not None:
            return -self.psnr / 20 * math.log(10), TOLERANCE
        nats = self.distortion
        if nats is None:
            nats = (self.bits_per_dim or 0.0) * run.dimensions * math.log(2)
        # (A density's D may be about 0: of that, a share would be nothing.)
        return nats, max(TOLERANCE * abs(nats), run.dimensions / 1000)


class ControlVae(AbstractBalance):
    """A PI controller of β holds the rate at a target (Shao et al. 2020).

    β = kp/(1 + exp e) + I + beta_min with e = target − R, and I falls by ki·e a step. Where β would
    leave [beta_min, beta_max], I stops: it takes the value with which β is at the bound, so that β
    leaves the bound with the first error of the other sign. (The published test against wind-up,
    `W < 0 and W >= 1`, is never true.)
    """

    for_more_rate: ClassVar[str] = "raise balance.rate (or rate_bits)"
    for_less_rate: ClassVar[str] = "lower balance.rate (or rate_bits)"
    kind: Literal["control_vae"] = "control_vae"
    rate: float | None = Field(default=None, gt=0)
    """Target of the rate, in nats per image."""
    rate_bits: float | None = Field(default=None, gt=0)
    """Target of the rate, in bits per image."""
    kp: float = Field(default=0.01, ge=0)
    """Proportional gain."""
    ki: float = Field(default=1e-3, gt=0)
    """Integral gain: how much β moves in a step, per nat of error.

    (Papers have 1e-4 for photographs and 1e-3 for dSprites. With 1e-4, MNIST was 23% off a target
    of 15 nats after 2,100 steps; with 1e-3 it held targets from 15 to 40 after 1,400.)
    """
    beta_min: float = Field(default=0.0, ge=0)
    """Least β."""
    beta_max: float = Field(default=10.0, gt=0)
    """Largest β; where β stays there, the target is too low for it."""
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _exactly_one(self, "rate", "rate_bits")
        if self.beta_min >= self.beta_max:
            raise ValueError(
                f"beta_min ({self.beta_min}) must be less than beta_max ({self.beta_max})"
            )
        return self

    def initial_state(self, run: RunFacts) -> State:
        """I, and the moving average of the error."""
        nats = self.rate if self.rate is not None else (self.rate_bits or 0.0) * math.log(2)
        return {"integral": torch.tensor(0.0), **_watch(nats, TOLERANCE * nats)}

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """α, and the controller's β."""
        proportional, integral = self._parts(state, terms)
        beta = self.beta_min + proportional + integral
        return Weights(self.alpha, beta.clamp(self.beta_min, self.beta_max))

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """I as it was used in this step."""
        integral = self._parts(state, terms)[1]
        return _watched(state, terms.rate.mean() - state["target"]) | {"integral": integral}

    def settled(self, state: State) -> Tensor:
        """Whether the target is held within 2%."""
        return _is_held(state)

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Find a β at its bound, or a target that is not held (yet)."""
        if self.settled(state):
            return None
        now = f"R is {_smoothed(state):.4g} nats and the target {float(state['target']):.4g}"
        reach = (epoch.beta - self.beta_min) / (self.beta_max - self.beta_min)
        error = float(state["error"])
        if reach > 1 - AT_BOUND and error > 0:
            return Verdict(
                OUT_OF_REACH,
                f"{now}, though β has come to its upper bound, {self.beta_max:g}.",
                "Raise balance.beta_max, or balance.rate.",
            )
        if reach < AT_BOUND and error < 0:
            return Verdict(
                OUT_OF_REACH,
                f"{now}, though β is down to its lower bound, {self.beta_min:g}: the model does "
                "not send more, whatever it costs.",
                "Lower balance.rate, or let the model send more (lower balance.beta_min, raise "
                "model.latent_size or train.epochs).",
            )
        return Verdict(
            NOT_HELD,
            f"{now}, with β at {epoch.beta:.3g} and on its way.",
            "Raise train.epochs, or balance.ki.",
        )

    def _parts(self, state: State, terms: ElboTerms) -> tuple[Tensor, Tensor]:
        """(P, I) for a batch, each []."""
        error = state["target"] - terms.rate.mean()
        bounded = error.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
        proportional = self.kp / (1 + bounded.exp())
        integral = state["integral"] - self.ki * error
        room = self.beta_max - self.beta_min - proportional
        return proportional, torch.minimum(torch.maximum(integral, -proportional), room)


class OptimalSigma(AbstractBalance):
    """The α that maximum likelihood gives: that of the σ which fits the batch (Rybkin et al. 2021).

    For a Gaussian of fixed σ: α = σ²/MSE, so that α·D has the gradient of (n/2)·log MSE, whatever
    σ is. Nothing is left to search. (D itself stays that of the fixed σ.)
    """

    kind: Literal["optimal_sigma"] = "optimal_sigma"
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate."""

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Other likelihoods have no σ of their own, or find it by themselves."""
        if isinstance(likelihood, Gaussian):
            return None
        return (
            "balance.kind = 'optimal_sigma' balances a Gaussian of fixed σ, and likelihood.kind = "
            f"{likelihood.model_dump()['kind']!r} is another: set likelihood to {{kind: gaussian}},"
            " or balance to {kind: fixed}"
        )

    def initial_state(self, run: RunFacts) -> State:
        """The likelihood's σ² times n."""
        assert run.sigma is not None  # see `misfit`
        return {
            "total_variance": torch.tensor(run.dimensions * run.sigma**2),
            "least": torch.tensor(run.dimensions * LEAST_SQUARED_ERROR),
        }

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """σ²/MSE of the batch, and β."""
        squared_error = torch.maximum(terms.squared_error.mean(), state["least"])
        return Weights(state["total_variance"] / squared_error, self.beta)


def _exactly_one(spec: Spec, *names: str) -> None:
    given = [name for name in names if getattr(spec, name) is not None]
    if len(given) != 1:
        raise ValueError(
            f"give exactly one target of {', '.join(names)}; given: {', '.join(given) or 'none'}"
        )


def _average(past: Tensor, now: Tensor) -> Tensor:
    """The next value of a moving average."""
    return SMOOTHING * past + (1 - SMOOTHING) * now


def _watch(target: float, tolerance: float) -> State:
    """State with which a controller knows whether it holds its target."""
    return {
        "target": torch.tensor(target),
        "tolerance": torch.tensor(tolerance),
        "error": torch.tensor(0.0),  # moving average, from 0
        "seen": torch.tensor(0.0),  # the same average of ones: how far `error` is from its start
    }


def _watched(state: State, error: Tensor) -> State:
    """`state` with an error more."""
    return state | {
        "error": _average(state["error"], error),
        "seen": _average(state["seen"], torch.ones_like(error)),
    }


def _smoothed(state: State) -> float:
    """The moving average of what a controller watches, without the pull of its start at 0."""
    return float(state["target"] + state["error"] / state["seen"].clamp(min=1e-9))


def _is_held(state: State) -> Tensor:
    """Whether the smoothed error is within the tolerance; not before the first step."""
    bound = state["tolerance"] * state["seen"]
    return (state["seen"] > 0) & (state["error"].abs() <= bound)


Balance = Annotated[
    Fixed | WarmUp | Cyclical | FreeBits | Capacity | Geco | ControlVae | OptimalSigma,
    Field(discriminator="kind"),
]
