"""Answer a study's question from a curve, by its validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaebalance.base.errors import UserError
from vaebalance.curve.chosen_beta import (
    Chosen,
    Target,
    best_of,
    choose_knee,
    chosen_row,
    find,
    measure_quantity,
)
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.options import Quantity
from vaebalance.curve.trace import CurveRow
from vaebalance.data import Dataset
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.evaluation.metrics import NATS
from vaebalance.objectives.frontier import distortion_at_rate_zero, hypervolume, pareto
from vaebalance.objectives.objectives import (
    AbstractObjective,
    Constrained,
    Frontier,
    Goal,
    Metric,
    NegativeElbo,
    Nll,
)
from vaebalance.settings import CurveSettings
from vaebalance.study.by_curve.question import COLUMNS, OTHERWISE, Question

TARGETS: tuple[Quantity, ...] = ("rate", "distortion", "rmse", "psnr")


@dataclass(frozen=True)
class CurveStudy:
    """A study that one curve answers, in place of trials."""

    question: Question
    curve: AbstractCurve
    rows: Sequence[CurveRow]  # of the validation split, by ascending β, all of the curve
    dataset: Dataset  # what the curve was trained on
    settings: CurveSettings

    @property
    def asked_rows(self) -> list[CurveRow]:
        """The rows in the question's range.

        Raises:
            UserError: there is none.
        """
        rows, question = self.rows, self.question
        asked = [row for row in rows if question.contains(row.beta)]
        if not asked:
            raise UserError(
                f"the curve has no point with β from {question.low:g} to {question.high:g}; raise "
                f"curve.points, make the range of tune.space wider, {OTHERWISE}."
            )
        return asked

    def knee(self) -> Chosen:
        """Return the knee of D and R.

        Raises:
            UserError: there is none.
        """
        return choose_knee(self.asked_rows)

    def answer(self) -> Chosen:
        """Return the β that the objective chooses.

        Raises:
            UserError: the curve lacks the number, has no knee, or does not reach the target.
        """
        objective = self.question.objective
        if isinstance(objective, Frontier):
            return self.knee()
        if isinstance(objective, Constrained):
            return self._meet_target(objective)
        if isinstance(objective, Nll):
            return _least_nll(self.asked_rows, self.settings.curve.nll_samples)
        return _best_row(objective, self.asked_rows)

    def _meet_target(self, objective: Constrained) -> Chosen:
        """Find the β by bisection, as `--target-…` of the curve does."""
        target = next(
            Target(quantity, limit)
            for quantity in TARGETS
            if (limit := getattr(objective, quantity)) is not None
        )
        seed = self.settings.seed
        cost = {"batch_size": self.settings.evaluate.batch_size, "seed": seed}
        met = find(self.curve, self.asked_rows, target, self.dataset, **cost)
        images = measured_images(self.dataset, "validation", seed)
        model = self.curve.model_at(met.beta)
        least = measure_quantity(model, objective.minimise, images, **cost)
        why = (
            f"β = {met.beta:.6g} (at α = 1), the least {objective.minimise}, {least:.4f} nats "
            f"per image, with {objective.target}, which it meets with {met.value:.4f}"
        )
        values: dict[str, float] = {objective.minimise: least, target.quantity: met.value}
        return Chosen(met.beta, objective.kind, why, values)

    def describe_volume(self, largest_rate: float) -> str:
        """Describe how much the curve dominates, as for the frontier of trials."""
        rows = self.asked_rows
        zero = distortion_at_rate_zero(self.settings.likelihood, self.dataset, self.settings.seed)
        terms = [(row.distortion, row.rate) for row in rows]
        area = hypervolume(terms, (zero, largest_rate))
        return (
            f"{len(pareto_rows(rows))} of the curve's {len(rows)} points are on the Pareto set; "
            f"hypervolume {area:.1f} nats² below D = {zero:.2f} (D at rate 0, of a decoder without "
            f"a code), R = {largest_rate:g}"
        )


def _least_nll(rows: Sequence[CurveRow], samples: int) -> Chosen:
    best = best_of(rows)
    bound = best.calibrated_nll + (best.calibrated_nll_standard_error or 0.0)
    near = [row.beta for row in rows if row.calibrated_nll <= bound]
    why = (
        f"the least calibrated nll (K = {samples}), {best.calibrated_nll:.4f} nats per image; "
        f"within one standard error of it: β from {near[0]:.4g} to {near[-1]:.4g}"
        f"{_edge(best, rows)}"
    )
    return chosen_row(best, "nll", why, {"calibrated_nll": best.calibrated_nll})


def _best_row(objective: AbstractObjective, rows: Sequence[CurveRow]) -> Chosen:
    (goal,) = objective.goals
    column = _column(objective)
    numbers = [(getattr(row, column), row) for row in rows]
    known: list[tuple[float, CurveRow]] = [pair for pair in numbers if pair[0] is not None]
    if not known:
        has = [name for name, own in COLUMNS.items() if getattr(rows[0], own) is not None]
        raise UserError(
            f"tune.objective: this curve does not have {column}, since it was traced without prior "
            "samples (evaluate.sample_images), or its likelihood is no density; it has "
            f"{', '.join(has)}. Take one of them, {OTHERWISE}."
        )
    value, best = min(known, key=lambda pair: goal.loss(pair[0]))
    end = "least" if goal.better == "lower" else "largest"
    why = f"the {end} {goal.name}, {value:.4f}{_unit(goal)}{_edge(best, rows)}"
    rule = objective.name if isinstance(objective, Metric) else objective.kind
    return chosen_row(best, rule, why, {column: value})


def _column(objective: AbstractObjective) -> str:
    if isinstance(objective, Metric):
        return COLUMNS[objective.name]
    assert isinstance(objective, NegativeElbo)
    return "negative_elbo"


def _unit(goal: Goal) -> str:
    if goal.unit == NATS:
        return " nats per image"
    return f" {goal.unit}" if goal.unit else ""


def _edge(best: CurveRow, rows: Sequence[CurveRow]) -> str:
    """Warn of a best value at an end of the range, beyond which the optimum may lie."""
    if best.beta not in (rows[0].beta, rows[-1].beta):
        return ""
    end = "low" if best.beta == rows[0].beta else "high"
    return (
        f". Warning: it is at the {end} end of the range, so the optimum may lie beyond; widen "
        f"tune.space, and curve.{end}"
    )


def pareto_rows(rows: Sequence[CurveRow]) -> list[CurveRow]:
    """Return the rows that no other beats in both D and R, by rising rate."""
    return [rows[index] for index in pareto([(row.distortion, row.rate) for row in rows])]
