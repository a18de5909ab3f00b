"""Balances that react to the terms of each batch."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vaebalance.balancing.balance import (
    NOT_HELD,
    OUT_OF_REACH,
    AbstractBalance,
    RunFacts,
    State,
    moving_average,
)
from vaebalance.base.reports import SplitReport
from vaebalance.base.specs import Spec
from vaebalance.base.verdicts import Verdict
from vaebalance.vae.elbo import ElboTerms, Weights
from vaebalance.vae.likelihoods import AbstractLikelihood, Gaussian

TOLERANCE = 0.02
"""A controller holds its target when its smoothed error is within this share of the target."""
NEWEST = 0.1
"""Weight of the newest error in GECO's faster average, which leads the slower one by about 90
steps."""
GAINING = 0.25
"""If training alone removed this share of the error in those steps, GECO does not raise α/β."""
STEADY = 0.25
"""GECO's multiplier counts as steady when its smoothed constraint (at most 1) is below this."""
GECO_RATIOS = (1e-6, 1e6)
"""Bounds of GECO's α/β; at a bound its target is out of reach."""
LEAST_SQUARED_ERROR = math.exp(-12)
"""Lower bound per dimension, at which σ is e⁻⁶: σ-VAE's own limit."""
LARGEST_EXPONENT = 50.0
AT_BOUND = 0.01
"""ControlVAE's β counts as at a bound within this share of its range."""


class Geco(AbstractBalance):
    """The lowest rate at a target of the reconstructions (Rezende & Viola 2018).

    λ = α/β is the multiplier of the constraint. Each step multiplies it by exp(speed·C), where C is
    the moving average of the constraint: positive while reconstructions are worse than the target,
    and clipped to ±1. For RMSE and PSNR the constraint is 10·log(RMSE/target), so that an error of
    a tenth is 1. For D it is λ·(D − target)/Z. At an optimum λ·D falls by about half a nat per used
    latent and unit of log λ, so one speed suits every likelihood and image size; the usual (D −
    target)/n needs another speed for each. λ does not grow while the reconstructions improve by
    themselves, as at the start of training: it would wind up and drive them far past the target.
    The larger of α and β is 1, so that the loss, and what gradient clipping sees of it, keeps its
    scale.
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
    """Target of the reconstructions' RMSE, in pixel values from 0 to 1."""
    psnr: float | None = Field(default=None, gt=0)
    """Target of the reconstructions' PSNR in dB, from the mean squared error over all images."""
    speed: float = Field(default=0.01, gt=0)
    """η: how fast the multiplier adapts."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        _exactly_one(self, "distortion", "bits_per_dim", "rmse", "psnr")
        return self

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Refuse a target in bits/dim for a likelihood that is a density."""
        if self.bits_per_dim is None or likelihood.is_mass(binarised=binarised):
            return None
        return (
            f"balance.bits_per_dim = {self.bits_per_dim:g}: bits/dim is defined only if the "
            "likelihood is a probability mass over pixels, which this one is not; give the "
            "target as distortion (nats per image), rmse or psnr"
        )

    def initial_state(self, run: RunFacts) -> State:
        """Return log λ, the moving averages, and the target of D or of log RMSE."""
        target, tolerance = self._target(run)
        return {
            "log_ratio": torch.tensor(0.0),
            "constraint": torch.tensor(0.0),
            "newest": torch.tensor(0.0),
            **_error_state(target, tolerance),
            "dimensions": torch.tensor(float(run.dimensions)),
            "latents": torch.tensor(float(run.latent_size)),
        }

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α = min(1, λ) and β = min(1, 1/λ)."""
        ratio = state["log_ratio"].exp()
        return Weights(ratio.clamp(max=1.0), ratio.reciprocal().clamp(max=1.0))

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """Update the averages and move λ by the constraint's moving average."""
        error = self._measure(state, terms) - state["target"]
        constraint = 10 * error
        if self._is_of_distortion:
            constraint = error * state["log_ratio"].exp() / state["latents"]
        average = moving_average(state["constraint"], constraint.clamp(-1.0, 1.0))
        averages = _with_error(state, error)
        newest = torch.lerp(state["newest"], error, NEWEST)
        gain = averages["error"] / averages["seen"] - newest
        improves_by_itself = (newest > 0) & (gain > GAINING * newest)
        growth = self.speed * torch.where(improves_by_itself, average.clamp(max=0.0), average)
        low, high = (math.log(bound) for bound in GECO_RATIOS)
        log_ratio = (state["log_ratio"] + growth).clamp(low, high)
        return averages | {"constraint": average, "newest": newest, "log_ratio": log_ratio}

    def settled(self, state: State) -> Tensor:
        """Return whether the target is held within 2% and the multiplier is steady.

        (A multiplier that is far too large also passes the target, but does not stay there.)
        """
        return _is_held(state) & (state["constraint"].abs() <= STEADY)

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Report a multiplier at its bound, or a target that is not held (yet)."""
        if self.settled(state):
            return None
        ratio, reached = state["log_ratio"].exp(), self._with_unit(_smoothed_measure(state))
        now = f"is {reached} and the target {self._with_unit(float(state['target']))}"
        low, high = (math.isclose(float(ratio), bound, rel_tol=1e-3) for bound in GECO_RATIOS)
        if high:
            return Verdict(
                OUT_OF_REACH,
                f"α/β is at its upper bound, {GECO_RATIOS[1]:g}, while the reconstruction "
                f"{now}: the model is a plain autoencoder and still not good enough.",
                f"First {self.for_less_rate}; or enlarge the model (model.latent_size, "
                "model.architecture) or train longer (train.epochs).",
            )
        if low:
            return Verdict(
                OUT_OF_REACH,
                f"α/β is at its lower bound, {GECO_RATIOS[0]:g}, and the reconstruction {now}: "
                "it is better than required, although it has almost no weight.",
                f"To use the spare rate, {self.for_more_rate}.",
            )
        return Verdict(
            NOT_HELD,
            f"The reconstruction {now}, with α/β at {float(ratio):.3g} and still changing.",
            "Raise train.epochs, or balance.speed.",
        )

    def _with_unit(self, measure: float) -> str:
        """Format D, or log RMSE, in the unit of the given target."""
        if self.rmse is not None:
            return f"RMSE {math.exp(measure):.4g}"
        if self.psnr is not None:
            return f"{-20 * measure / math.log(10):.4g} dB"
        return f"D {measure:.4g} nats"

    @property
    def _is_of_distortion(self) -> bool:
        return self.rmse is None and self.psnr is None

    def _measure(self, state: State, terms: ElboTerms) -> Tensor:
        """Compute what the target constrains, D or log RMSE: []."""
        if self._is_of_distortion:
            return terms.distortion.mean()
        mse = terms.squared_error.mean() / state["dimensions"]
        return 0.5 * mse.clamp(min=LEAST_SQUARED_ERROR).log()

    def _target(self, run: RunFacts) -> tuple[float, float]:
        """Return the target of `_measure`, and the tolerated deviation from it."""
        if self.rmse is not None:
            return math.log(self.rmse), TOLERANCE
        if self.psnr is not None:
            return -self.psnr / 20 * math.log(10), TOLERANCE
        nats = self.distortion
        if nats is None:
            nats = (self.bits_per_dim or 0.0) * run.dimensions * math.log(2)
        # A density's D may be about 0, and a share of that would leave no tolerance.
        return nats, max(TOLERANCE * abs(nats), run.dimensions / 1000)


class ControlVae(AbstractBalance):
    """A PI controller of β holds the rate at a target (Shao et al. 2020).

    β = kp/(1 + exp e) + I + beta_min, with e = target − R. I falls by ki·e each step. Where β would
    leave [beta_min, beta_max], I takes the value that puts β at the bound, so β leaves the bound
    with the first error of the opposite sign. (The published test against wind-up, `W < 0 and W >=
    1`, is never true.)
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
    """Integral gain: how much β changes in a step, per nat of error.

    (Papers use 1e-4 for photographs and 1e-3 for dSprites. With 1e-4, MNIST was 23% off a target
    of 15 nats after 2,100 steps; with 1e-3 it held targets from 15 to 40 after 1,400.)
    """
    beta_min: float = Field(default=0.0, ge=0)
    """Smallest β."""
    beta_max: float = Field(default=10.0, gt=0)
    """Largest β; if β stays there, the target rate is too low for this bound."""
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
        """Return the integral part I and the moving average of the error."""
        nats = self.rate if self.rate is not None else (self.rate_bits or 0.0) * math.log(2)
        return {"integral": torch.tensor(0.0), **_error_state(nats, TOLERANCE * nats)}

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α and the controller's β."""
        proportional, integral = self._parts(state, terms)
        beta = self.beta_min + proportional + integral
        return Weights(self.alpha, beta.clamp(self.beta_min, self.beta_max))

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """Keep the I that this step used, and average its error."""
        integral = self._parts(state, terms)[1]
        return _with_error(state, terms.rate.mean() - state["target"]) | {"integral": integral}

    def settled(self, state: State) -> Tensor:
        """Return whether the target is held within 2%."""
        return _is_held(state)

    def finding(self, state: State, epoch: SplitReport) -> Verdict | None:
        """Report β at a bound, or a target that is not held (yet)."""
        if self.settled(state):
            return None
        now = (
            f"R is {_smoothed_measure(state):.4g} nats and the target {float(state['target']):.4g}"
        )
        reach = (epoch.beta - self.beta_min) / (self.beta_max - self.beta_min)
        error = float(state["error"])
        if reach > 1 - AT_BOUND and error > 0:
            return Verdict(
                OUT_OF_REACH,
                f"{now}, although β has reached its upper bound, {self.beta_max:g}.",
                "Raise balance.beta_max, or balance.rate.",
            )
        if reach < AT_BOUND and error < 0:
            return Verdict(
                OUT_OF_REACH,
                f"{now}, although β has reached its lower bound, {self.beta_min:g}: the model "
                "does not use more rate at any price.",
                "Lower balance.rate, or let the model use more (lower balance.beta_min, raise "
                "model.latent_size or train.epochs).",
            )
        return Verdict(
            NOT_HELD,
            f"{now}, with β at {epoch.beta:.3g} and still changing.",
            "Raise train.epochs, or balance.ki.",
        )

    def _parts(self, state: State, terms: ElboTerms) -> tuple[Tensor, Tensor]:
        """Compute P and I for a batch, each []."""
        error = state["target"] - terms.rate.mean()
        bounded = error.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
        proportional = self.kp / (1 + bounded.exp())
        integral = state["integral"] - self.ki * error
        largest = self.beta_max - self.beta_min - proportional
        return proportional, torch.minimum(torch.maximum(integral, -proportional), largest)


class OptimalSigma(AbstractBalance):
    """The α of maximum likelihood: that of the σ which fits the batch best (Rybkin et al. 2021).

    For a Gaussian of fixed σ, α = σ²/MSE, so that α·D has the gradient of (n/2)·log MSE whatever
    σ is. No weight is left to search. (D itself stays that of the fixed σ.)
    """

    kind: Literal["optimal_sigma"] = "optimal_sigma"
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate."""

    def misfit(
        self, likelihood: AbstractLikelihood, latent_size: int, *, binarised: bool
    ) -> str | None:
        """Refuse likelihoods that have no σ, or that learn theirs."""
        if isinstance(likelihood, Gaussian):
            return None
        return (
            "balance.kind = 'optimal_sigma' balances a Gaussian of fixed σ, and likelihood.kind = "
            f"{likelihood.model_dump()['kind']!r} is not one: set likelihood to {{kind: gaussian}},"
            " or balance to {kind: fixed}"
        )

    def initial_state(self, run: RunFacts) -> State:
        """Return the likelihood's σ² times n."""
        assert run.sigma is not None  # see `misfit`
        return {
            "total_variance": torch.tensor(run.dimensions * run.sigma**2),
            "least": torch.tensor(run.dimensions * LEAST_SQUARED_ERROR),
        }

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """Return α = σ²/MSE of the batch, and β."""
        squared_error = torch.maximum(terms.squared_error.mean(), state["least"])
        return Weights(state["total_variance"] / squared_error, self.beta)


def _exactly_one(spec: Spec, *names: str) -> None:
    given = [name for name in names if getattr(spec, name) is not None]
    if len(given) != 1:
        raise ValueError(
            f"give exactly one target of {', '.join(names)}; given: {', '.join(given) or 'none'}"
        )


def _error_state(target: float, tolerance: float) -> State:
    """Return the state with which a controller knows whether it holds its target."""
    return {
        "target": torch.tensor(target),
        "tolerance": torch.tensor(tolerance),
        "error": torch.tensor(0.0),  # moving average, from 0
        "seen": torch.tensor(0.0),  # the same average of ones, which corrects `error` for its start
    }


def _with_error(state: State, error: Tensor) -> State:
    """Return `state` with one more error in its averages."""
    return state | {
        "error": moving_average(state["error"], error),
        "seen": moving_average(state["seen"], torch.ones_like(error)),
    }


def _smoothed_measure(state: State) -> float:
    """Return the moving average of the controlled quantity, corrected for its start at 0."""
    return float(state["target"] + state["error"] / state["seen"].clamp(min=1e-9))


def _is_held(state: State) -> Tensor:
    """Return whether the smoothed error is within the tolerance; not before the first step."""
    bound = state["tolerance"] * state["seen"]
    return (state["seen"] > 0) & (state["error"].abs() <= bound)
