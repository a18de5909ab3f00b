"""Draw a study as Vega-Lite: history, slices, importance, the rate–distortion plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import create_trial

from vaebalance.evaluation.metrics import NATS
from vaebalance.objectives.objectives import AbstractObjective, Goal
from vaebalance.study.results.choice import chosen, feasible, finished, front
from vaebalance.study.space import Dimension, Range, Space, shown
from vaebalance.study.storage.journal import distributions
from vaebalance.study.trials import Trial

if TYPE_CHECKING:
    import altair as alt

SIZE = {"width": 330, "height": 260}
PLAIN, CHOSEN, MISSED = "#1f77b4", "#d62728", "#b8b8b8"
STATES = {"chosen": CHOSEN, "tried": PLAIN, "misses the target": MISSED}
Records = list[dict[str, Any]]
LEAST_TRIALS = 4
"""Least number of finished trials to measure by."""
SEED = 0  # seed of the forest, so that a study published again shows the same figure


def charts(
    trials: Sequence[Trial],
    space: Space,
    objective: AbstractObjective,
    reference: tuple[float, float] | None,
) -> dict[str, alt.TopLevelMixin]:
    """Return a study's charts by file name; a trial must be finished."""
    import altair as alt

    charts_by_name: dict[str, alt.TopLevelMixin] = {
        "frontier": _plane(trials, space, objective, reference),
        "history": alt.hconcat(*(_history(trials, objective, i) for i in _goals(objective))),
        "slices": alt.vconcat(
            *(
                alt.hconcat(*(_slice(trials, d, space, objective, i) for d in space.dimensions))
                for i in _goals(objective)
            )
        ),
    }
    bars = [
        _importance(shares, space, objective.goals[i])
        for i in _goals(objective)
        if (shares := importances(trials, space, i))
    ]
    if bars:
        charts_by_name["importance"] = alt.vconcat(*bars)
    return charts_by_name


def together(drawn: Mapping[str, alt.TopLevelMixin]) -> alt.VConcatChart:
    """Stack the charts, each with its own legend."""
    import altair as alt

    page: alt.VConcatChart = alt.vconcat(*drawn.values()).resolve_scale(color="independent")  # type: ignore[arg-type]
    return page


def _goals(objective: AbstractObjective) -> range:
    return range(len(objective.goals))


def _records(trials: Sequence[Trial], objective: AbstractObjective) -> Records:
    """Convert finished trials to records for charts."""
    best, good = chosen(trials, objective), feasible(trials)
    return [
        {
            "trial": trial.number,
            "D": trial.results["distortion"],
            "R": trial.results["rate"],
            "values": trial.values,
            "state": "chosen"
            if trial == best
            else "tried"
            if trial in good
            else "misses the target",
            "point": trial.point,
        }
        for trial in finished(trials)
    ]


def _state(records: Records) -> alt.Color:
    """Colour records by state; the legend has only the states that occur."""
    import altair as alt

    present = {record["state"] for record in records}
    shown = {name: colour for name, colour in STATES.items() if name in present}
    scale = alt.Scale(domain=list(shown), range=list(shown.values()))
    return alt.Color("state:N", title=None, scale=scale)


def axis_title(goal: Goal) -> str:
    """Name the goal and its unit."""
    unit = "nats per image" if goal.unit == NATS else goal.unit
    return f"{goal.name}, {unit}" if unit else goal.name


def _plane(
    trials: Sequence[Trial],
    space: Space,
    objective: AbstractObjective,
    reference: tuple[float, float] | None,
) -> alt.TopLevelMixin:
    """Draw distortion against rate, the Pareto set as stairs that bound the hypervolume."""
    import altair as alt

    records = [
        {**record, "knobs": space.describe(record.pop("point"))}
        for record in _records(trials, objective)
    ]
    edge: Records = [
        {"R": trial.results["rate"], "D": trial.results["distortion"]} for trial in front(trials)
    ]
    below = (
        []
        if reference is None
        else [f"hypervolume below D = {reference[0]:.1f}, R = {reference[1]:g}"]
    )
    title = alt.Title(
        "distortion and rate of the trials, and what none beats in both",
        subtitle=below,
        anchor="start",
    )
    near = alt.Scale(zero=False)
    x = alt.X("R:Q", title="rate R, nats per image", scale=near)
    y = alt.Y("D:Q", title="distortion D, nats per image", scale=near)
    stairs = (
        alt.Chart(alt.InlineData(values=edge))
        .mark_line(interpolate="step-after", color="#777777")
        .encode(x=x, y=y)
    )
    points = (
        alt.Chart(alt.InlineData(values=records))
        .mark_point(filled=True, opacity=1, size=60)
        .encode(
            x=x, y=y, color=_state(records), tooltip=["trial:Q", "knobs:N", "D:Q", "R:Q", "state:N"]
        )
    )
    return alt.layer(stairs, points, title=title).properties(width=480, height=380)


def _history(
    trials: Sequence[Trial], objective: AbstractObjective, index: int
) -> alt.LayerChart | alt.FacetChart:
    """Draw the goal's number by trial, and the best so far that meets the target."""
    import altair as alt

    goal = objective.goals[index]
    best: float | None = None
    rows: Records = []
    for record in _records(trials, objective):
        value = record["values"][index]
        if record["state"] != "misses the target" and (
            best is None or goal.loss(value) < goal.loss(best)
        ):
            best = value
        rows.append(
            {"trial": record["trial"], "value": value, "best": best, "state": record["state"]}
        )
    whole = alt.Axis(tickMinStep=1)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("trial:Q", title="trial", axis=whole)
    )
    near = alt.Scale(zero=False)
    title = axis_title(goal)
    line = base.mark_line(interpolate="step-after", color="#777777").encode(
        y=alt.Y("best:Q", title=title, scale=near)
    )
    points = base.mark_point(filled=True, opacity=1, size=45).encode(
        y=alt.Y("value:Q", title=title, scale=near), color=_state(rows)
    )
    return alt.layer(line, points, title="history").properties(**SIZE)


def _slice(
    trials: Sequence[Trial],
    dimension: Dimension,
    space: Space,
    objective: AbstractObjective,
    index: int,
) -> alt.Chart:
    """Draw the goal's number against one knob."""
    import altair as alt

    name, goal = space.names[dimension.knob], objective.goals[index]
    is_range = isinstance(dimension, Range)
    rows: Records = [
        {
            "knob": record["point"][dimension.knob]
            if is_range
            else shown(record["point"][dimension.knob]),
            "value": record["values"][index],
            "state": record["state"],
            "trial": record["trial"],
        }
        for record in _records(trials, objective)
    ]
    if isinstance(dimension, Range):
        kind = "log" if dimension.log else "linear"
        scale = alt.Scale(type=kind, domain=[dimension.low, dimension.high], nice=False)  # type: ignore[arg-type]
        x = alt.X("knob:Q", title=name, scale=scale)
    else:
        x = alt.X("knob:N", title=name)
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows), title=name)
        .mark_point(filled=True, opacity=1, size=45)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=axis_title(goal), scale=alt.Scale(zero=False)),
            color=_state(rows),
            tooltip=["trial:Q", "knob:N", "value:Q", "state:N"],
        )
        .properties(**SIZE)
    )
    return chart


def _importance(shares: dict[str, float], space: Space, goal: Goal) -> alt.Chart:
    import altair as alt

    rows: Records = [{"knob": space.names[knob], "share": share} for knob, share in shares.items()]
    title = f"share of the variance of {goal.name} that a knob explains (fANOVA)"
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows), title=title)
        .mark_bar(color=PLAIN)
        .encode(
            x=alt.X("share:Q", title="share", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("knob:N", title=None, sort="-x"),
        )
        .properties(width=SIZE["width"])
    )
    return chart


def importances(trials: Sequence[Trial], space: Space, goal: int) -> dict[str, float]:
    """Return each knob's share of the variance of the goal's number (fANOVA, Hutter 2014).

    The shares sum to 1; empty for a single knob, few trials, or a number that never changed.
    """
    done = finished(trials)
    values = [trial.values[goal] for trial in done if trial.values is not None]
    if len(space.dimensions) < 2 or len(done) < LEAST_TRIALS or len(set(values)) < 2:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # scikit-learn

    study = optuna.create_study()
    study.add_trials(
        [
            create_trial(params=dict(trial.point), distributions=distributions(space), value=value)
            for trial, value in zip(done, values, strict=True)
        ]
    )
    evaluator = FanovaImportanceEvaluator(seed=SEED)
    return get_param_importances(study, evaluator=evaluator)
