"""Which β to take: the knee, the best nll, or the one that meets a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.trace import CurveRow
from vaebalance.data import Dataset
from vaebalance.errors import UserError
from vaebalance.evaluation import MeasuredImages, elbo_parts, measured_images
from vaebalance.evaluation.reconstructions import reconstruction_quality
from vaebalance.frontier import knee
from vaebalance.model import VAE

Quantity = Literal["rate", "distortion", "rmse", "psnr"]
UNITS: dict[Quantity, str] = {
    "rate": "nats per image",
    "distortion": "nats per image",
    "rmse": "in pixel values",
    "psnr": "dB",
}
SAMPLES = 16  # draws of q(z|x) for an image's distortion, as along the curve
RELATIVE_WIDTH = 1e-4
"""Of β where the bisection ends: far below what a target moves by from seed to seed."""


def knee_of(rows: Sequence[CurveRow]) -> CurveRow | None:
    """The knee of D and R by `frontier.KNEE_RULE`; None: the curve has no bend."""
    index = knee([(row.distortion, row.rate) for row in rows])
    return None if index is None else rows[index]


def best_of(rows: Sequence[CurveRow]) -> CurveRow:
    """The least calibrated nll, as a study's objective `nll` would choose."""
    return min(rows, key=lambda row: row.calibrated_nll)


def best_own_of(rows: Sequence[CurveRow]) -> CurveRow | None:
    """The least nll of the model's own likelihood; None: it is no density."""
    known = [(row.nll, row) for row in rows if row.nll is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


@dataclass(frozen=True)
class Target:
    """What a model must keep to: rate, distortion and RMSE at most, PSNR at least."""

    quantity: Quantity
    value: float

    @property
    def is_met_by_less(self) -> bool:
        """Whether smaller is better."""
        return self.quantity != "psnr"

    @property
    def is_met_by_high_beta(self) -> bool:
        """The rate falls with β; reconstructions get worse."""
        return self.quantity == "rate"

    def is_met(self, value: float) -> bool:
        """Whether a model with this value keeps to it."""
        return value <= self.value if self.is_met_by_less else value >= self.value

    def __str__(self) -> str:
        """In words."""
        sign = "≤" if self.is_met_by_less else "≥"
        return f"{self.quantity} {sign} {self.value:g} {UNITS[self.quantity]}"


@dataclass(frozen=True)
class Found:
    """The β nearest to a target that keeps to it."""

    beta: float
    value: float


def find(
    curve: AbstractCurve, target: Target, dataset: Dataset, *, batch_size: int, seed: int
) -> Found:
    """The β that meets the target on validation images with the least of the other term.

    By bisection of log β, along which all quantities are monotone but for noise; of a continuation
    by bisection of its own β.

    Raises:
        UserError: every β meets it, or none; says what there is to be had.
    """
    images = measured_images(dataset, "validation", seed)

    def measure(beta: float) -> float:
        return measure_quantity(
            curve.model_at(beta), target.quantity, images, batch_size=batch_size, seed=seed
        )

    values = {beta: measure(beta) for beta in (curve.low, curve.high)}
    _refuse_out_of_range(target, values)
    if curve.is_continuous:
        return _bisect(curve.low, curve.high, target, measure)
    own = curve.betas(10**9)
    place = _bisect_index(own, target, measure)
    return Found(own[place], measure(own[place]))


def measure_quantity(
    model: VAE, quantity: Quantity, images: MeasuredImages, *, batch_size: int, seed: int
) -> float:
    """One number of a model, as `trace` gives it."""
    if quantity in ("rmse", "psnr"):
        found = reconstruction_quality(model, images, batch_size=batch_size)
        return found.rmse if quantity == "rmse" else found.psnr
    parts = elbo_parts(model, images, samples=SAMPLES, batch_size=batch_size, seed=seed)
    return parts.rate if quantity == "rate" else parts.distortion


def _refuse_out_of_range(target: Target, values: dict[float, float]) -> None:
    met = [target.is_met(value) for value in values.values()]
    if any(met) and not all(met):
        return
    (low, at_low), (high, at_high) = values.items()
    span = (
        f"from {at_low:.4g} (β = {low:g}) to {at_high:.4g} (β = {high:g}) "
        f"{UNITS[target.quantity]} on validation images"
    )
    every = "every β of the curve meets it" if all(met) else "no β of the curve meets it"
    raise UserError(
        f"target {target}: {every}; there is {target.quantity} {span}. Take a target between, or "
        "train a curve with a wider curve.low and curve.high."
    )


def _bisect(low: float, high: float, target: Target, measure: Callable[[float], float]) -> Found:
    """Between an end that meets the target and one that does not."""
    meets, fails = (high, low) if target.is_met_by_high_beta else (low, high)
    value = measure(meets)
    while abs(math.log(meets / fails)) > RELATIVE_WIDTH:
        middle = math.sqrt(meets * fails)
        found = measure(middle)
        if target.is_met(found):
            meets, value = middle, found
        else:
            fails = middle
    return Found(meets, value)


def _bisect_index(betas: Sequence[float], target: Target, measure: Callable[[float], float]) -> int:
    """The place of the β, the last of those that meet the target."""
    meets, fails = len(betas) - 1, 0
    if not target.is_met_by_high_beta:
        meets, fails = fails, meets
    while abs(meets - fails) > 1:
        middle = (meets + fails) // 2
        if target.is_met(measure(betas[middle])):
            meets = middle
        else:
            fails = middle
    return meets
