"""Read the question that section `tune` asks, as far as a curve can answer it."""

from __future__ import annotations

from dataclasses import dataclass

from vaebalance.balancing import Fixed
from vaebalance.base.errors import UserError
from vaebalance.objectives.objectives import AbstractObjective, Metric
from vaebalance.settings import CurveSpec, Settings
from vaebalance.study.search.identity import refuse_pointless
from vaebalance.study.search.knobs import WEIGHTS, search_space
from vaebalance.study.space import Range

OTHERWISE = "or set tune.method: trials"
COLUMNS = {
    "test/distortion": "distortion",
    "test/negative_elbo": "negative_elbo",
    "test/importance_weighted_nll": "nll",
    "test/calibrated_nll": "calibrated_nll",
    "test/rmse": "rmse",
    "test/psnr": "psnr",
    "samples/own/frechet": "sample_frechet",
    "samples/own/precision": "sample_precision",
    "samples/own/recall": "sample_recall",
}
"""Columns of a curve's rows by the name of the metric."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Question:
    """An objective, and the range of β (at α = 1) to choose from."""

    objective: AbstractObjective
    low: float
    high: float

    def contains(self, beta: float) -> bool:
        """Return whether a β is in the range."""
        return self.low * (1 - ROUNDING) <= beta <= self.high * (1 + ROUNDING)


def question_of(settings: Settings) -> Question:
    """Return the question of section `tune`.

    Raises:
        UserError: a curve cannot answer it; says why, and what to set.
    """
    space = search_space(settings)
    others = [d.knob for d in space.dimensions if d.knob not in WEIGHTS]
    if others or len(space.dimensions) > 1:
        raise UserError(
            f"tune.space has {', '.join(others or WEIGHTS)}, and tune.method is 'curve', which "
            "answers for one weight alone: all the rest is the same along a curve. Leave only "
            f"balance.beta or balance.alpha in tune.space, {OTHERWISE}."
        )
    (weight,) = space.dimensions
    if not isinstance(weight, Range):
        raise UserError(
            f"tune.space.{weight.knob} has choices, and tune.method is 'curve', which answers for "
            f"a range; give {{low, high, log: true}}, {OTHERWISE}."
        )
    if not isinstance(settings.balance, Fixed):
        kind = settings.balance.model_dump()["kind"]
        raise UserError(
            f"balance.kind = {kind!r}, and tune.method is 'curve', whose weights stand still "
            f"throughout; set balance.kind: fixed, {OTHERWISE}."
        )
    refuse_pointless(settings, space)
    objective = settings.tune.objective
    if isinstance(objective, Metric) and objective.name not in COLUMNS:
        raise UserError(
            f"tune.objective.name = {objective.name!r}: a curve does not have it, but "
            f"{', '.join(COLUMNS)}. Take one of them, {OTHERWISE}."
        )
    low, high = _betas(weight, settings.balance)
    _refuse_beyond(settings.curve, weight, low, high)
    return Question(objective, low, high)


def _betas(weight: Range, balance: Fixed) -> tuple[float, float]:
    """Return the range of β/α, since only the ratio matters."""
    if weight.knob == "balance.beta":
        return weight.low / balance.alpha, weight.high / balance.alpha
    low = balance.beta / weight.high
    return low, balance.beta / weight.low if weight.low > 0 else float("inf")


def _refuse_beyond(curve: CurveSpec, weight: Range, low: float, high: float) -> None:
    """Check that the curve covers the range."""
    if low < curve.low * (1 - ROUNDING) or high > curve.high * (1 + ROUNDING):
        raise UserError(
            f"tune.space.{weight.knob} from {weight.low:g} to {weight.high:g} is β from {low:g} to "
            f"{high:g} at α = 1, and the curve is of β from {curve.low:g} to {curve.high:g}: make "
            f"curve.low and curve.high wider, or tune.space narrower, {OTHERWISE}."
        )
