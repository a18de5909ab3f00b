"""Choose a β on a curve: the knee, the best nll, or the β that meets a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vaebalance.base.errors import UserError
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.options import BEST, KNEE, Choice, Quantity
from vaebalance.curve.trace import CurveRow
from vaebalance.data import Dataset
from vaebalance.evaluation.bounds import distortion_draws, elbo_parts
from vaebalance.evaluation.measured_images import MeasuredImages, encoded, measured_images
from vaebalance.evaluation.reconstructions import reconstruction_quality
from vaebalance.objectives.frontier import KNEE_RULE, knee
from vaebalance.vae.model import VAE

UNITS: dict[Quantity, str] = {
    "rate": "nats per image",
    "distortion": "nats per image",
    "rmse": "in pixel values",
    "psnr": "dB",
}
RELATIVE_WIDTH = 1e-4
"""Relative width of the β interval at which bisection ends, far below the spread over seeds."""


def knee_of(rows: Sequence[CurveRow]) -> CurveRow | None:
    """Return the knee of D and R by `frontier.KNEE_RULE`; None: the curve has no bend."""
    index = knee([(row.distortion, row.rate) for row in rows])
    return None if index is None else rows[index]


def best_of(rows: Sequence[CurveRow]) -> CurveRow:
    """Return the row with the least calibrated nll, as a study's objective `nll` chooses."""
    return min(rows, key=lambda row: row.calibrated_nll)


def best_own_of(rows: Sequence[CurveRow]) -> CurveRow | None:
    """Return the row with the least nll of the model's likelihood; None: it is no density."""
    known = [(row.nll, row) for row in rows if row.nll is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


@dataclass(frozen=True)
class Chosen:
    """A chosen β and the reason."""

    beta: float  # at α = 1
    rule: str
    """Rule that chose it: knee, best, by hand, or a study's objective."""
    why: str
    """Reason in a sentence, with the numbers of the curve's model at this β."""
    values: Mapping[str, float]
    """Numbers that decided the choice, of validation images."""


def choose(curve: AbstractCurve, rows: Sequence[CurveRow], choice: Choice) -> Chosen:
    """Return the β that `choice` names.

    Args:
        curve: the models.
        rows: rows of the validation split, by ascending β.
        choice: knee, best, or a β.

    Raises:
        UserError: there is no knee, or the curve does not reach that β.
    """
    if choice == KNEE:
        return choose_knee(rows)
    if choice == BEST:
        best = best_of(rows)
        why = f"the least calibrated nll, {best.calibrated_nll:.2f} nats per image"
        return chosen_row(best, BEST, why, {"calibrated_nll": best.calibrated_nll})
    beta = float(choice)
    if not curve.low <= beta <= curve.high:
        raise UserError(
            f"β = {beta:g}: this curve is of β from {curve.low:g} to {curve.high:g}; stay within, "
            "or train one with another curve.low or curve.high."
        )
    return Chosen(beta, "by hand", f"β = {beta:.6g} (at α = 1), given by hand", {})


def choose_knee(rows: Sequence[CurveRow]) -> Chosen:
    """Return the knee.

    Raises:
        UserError: the curve has no knee.
    """
    row = knee_of(rows)
    if row is None:
        raise UserError(
            "knee: D and R have no bend over this curve's range; give best or a β, or train "
            "one with a wider curve.low and curve.high."
        )
    values = {"distortion": row.distortion, "rate": row.rate}
    return chosen_row(row, KNEE, f"the knee: {KNEE_RULE}; it moves with the range", values)


def chosen_row(row: CurveRow, rule: str, why: str, values: Mapping[str, float]) -> Chosen:
    """Return the β of a row as a choice, with its D and R in the reason."""
    terms = f"D {row.distortion:.2f}, R {row.rate:.2f}"
    return Chosen(row.beta, rule, f"β = {row.beta:.6g} (at α = 1; {terms}), {why}", values)


@dataclass(frozen=True)
class Target:
    """A bound on a model's number: rate, distortion and RMSE at most, PSNR at least."""

    quantity: Quantity
    value: float

    @property
    def is_met_by_less(self) -> bool:
        """Whether the target is an upper bound."""
        return self.quantity != "psnr"

    @property
    def is_met_by_high_beta(self) -> bool:
        """Whether larger β meet the target: the rate falls with β, reconstructions get worse."""
        return self.quantity == "rate"

    def of(self, row: CurveRow) -> float:
        """Return the row's value of the quantity."""
        value: float = getattr(row, self.quantity)
        return value

    def price_of(self, row: CurveRow) -> float:
        """Return the row's other term of the trade-off: D for a target of the rate, else R."""
        return row.distortion if self.quantity == "rate" else row.rate

    def is_met(self, value: float) -> bool:
        """Return whether `value` meets the target."""
        return value <= self.value if self.is_met_by_less else value >= self.value

    def __str__(self) -> str:
        """Format the target with its unit."""
        sign = "≤" if self.is_met_by_less else "≥"
        return f"{self.quantity} {sign} {self.value:g} {UNITS[self.quantity]}"


@dataclass(frozen=True)
class Found:
    """The β that meets a target, and its value of the target's quantity."""

    beta: float
    value: float


def find(
    curve: AbstractCurve,
    rows: Sequence[CurveRow],
    target: Target,
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
) -> Found:
    """Find the β that meets the target on validation images with the least of the other term.

    The traced rows bracket it, and bisection of log β refines it. A continuation has no models
    between its β, so the best of them is returned.

    Args:
        curve: the models.
        rows: rows of the validation split, by ascending β.
        target: target to meet.
        dataset: data that the curve was trained on.
        batch_size: number of images decoded at once.
        seed: seed of all noise, the same as of the rows.

    Raises:
        UserError: every β meets the target, or none does; the message has the curve's range.
    """
    met = [target.is_met(target.of(row)) for row in rows]
    if all(met) or not any(met):
        raise _out_of_range(target, rows, every=all(met))
    place = min(
        (i for i, is_met in enumerate(met) if is_met), key=lambda i: target.price_of(rows[i])
    )
    beyond = place - 1 if target.is_met_by_high_beta else place + 1
    if not curve.is_continuous or not 0 <= beyond < len(rows) or met[beyond]:
        return Found(rows[place].beta, target.of(rows[place]))
    images = measured_images(dataset, "validation", seed)

    def measure(beta: float) -> float:
        return measure_quantity(
            curve.model_at(beta), target.quantity, images, batch_size=batch_size, seed=seed
        )

    start = Found(rows[place].beta, target.of(rows[place]))
    return _bisect(start, rows[beyond].beta, target, measure)


def measure_quantity(
    model: VAE, quantity: Quantity, images: MeasuredImages, *, batch_size: int, seed: int
) -> float:
    """Measure one number of a model, identical to that of `trace`."""
    images = encoded(model, images, batch_size)
    if quantity in ("rmse", "psnr"):
        quality = reconstruction_quality(model, images, batch_size=batch_size, with_ssim=False)
        return quality.rmse if quantity == "rmse" else quality.psnr
    draws = distortion_draws(len(images))
    parts = elbo_parts(model, images, samples=draws, batch_size=batch_size, seed=seed)
    return parts.rate if quantity == "rate" else parts.distortion


def _out_of_range(target: Target, rows: Sequence[CurveRow], *, every: bool) -> UserError:
    least, most = (end(rows, key=target.of) for end in (min, max))
    span = (
        f"from {target.of(least):.4g} (β = {least.beta:g}) to {target.of(most):.4g} "
        f"(β = {most.beta:g}) {UNITS[target.quantity]} on validation images"
    )
    words = "every β of the curve meets it" if every else "no β of the curve meets it"
    return UserError(
        f"target {target}: {words}; there is {target.quantity} {span}. Take a target between, or "
        "train a curve with a wider curve.low and curve.high."
    )


def _bisect(start: Found, fails: float, target: Target, measure: Callable[[float], float]) -> Found:
    """Bisect log β between `start`, which meets the target, and a β that `fails` to."""
    meets = start
    while abs(math.log(meets.beta / fails)) > RELATIVE_WIDTH:
        middle = math.sqrt(meets.beta * fails)
        value = measure(middle)
        if target.is_met(value):
            meets = Found(middle, value)
        else:
            fails = middle
    return meets
