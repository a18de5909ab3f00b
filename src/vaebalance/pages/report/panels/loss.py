"""The terms of the loss over epochs."""

from __future__ import annotations

from collections.abc import Iterable

from vaebalance.pages.figures import charts
from vaebalance.pages.figures.charts import Chart, Curve
from vaebalance.pages.figures.colours import DISTORTION, INK, MUTED, RATE, TOTAL, label_colour
from vaebalance.pages.figures.export import files
from vaebalance.pages.kit.blocks import Charts, Key, Panel, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import number
from vaebalance.pages.report.inputs import Inputs

HEADER = ("quantity", "training", "validation")
NATS = "nats per image"
OF_EVERY_LOSS = {
    *("distortion", "rate", "negative_elbo", "alpha", "beta"),
    *(f"weighted_{part}" for part in ("distortion", "rate", "penalty", "loss")),
}
D, R = Curve("distortion", "D", DISTORTION), Curve("rate", "R", RATE)


def loss_components(inputs: Inputs) -> Panel:
    """Draw D, R and their weighted versions over epochs."""
    drawn = (
        *_raw(inputs),
        *_weighted(inputs),
        _gradients(inputs),
        *_components(inputs),
        *_weights(inputs),
    )
    legend = (
        Key("line", "validation"),
        Key("line dashed", "training"),
        Key("line dotted", f"best epoch, {_best(inputs)}"),
        Key("dot distortion", "D"),
        *((Key("dot rate", "R"), Key("dot total", "D + R")) if _has_rate(inputs) else ()),
        *((Key("dot muted", "penalty"),) if _has_penalty(inputs) else ()),
    )
    numbers = _numbers_at_best(inputs)
    rows = tuple((name, *(number(value) for value in values)) for name, *values in numbers)
    return Panel(
        "loss",
        "Loss components",
        "Loss components",
        "D, R and D + R are unweighted and comparable across runs with any weights; training "
        "minimises the weighted terms. If validation rises while training falls, the model "
        "overfits. A steep start may be cut off.",
        (
            Charts(drawn, legend),
            Table(f"Numbers of the best epoch, {_best(inputs)}", HEADER, rows, (1, 2), True),
        ),
        files("loss_components", drawn, columns=3) | {"best_epoch.csv": as_csv(HEADER, numbers)},
    )


def _raw(inputs: Inputs) -> list[Chart]:
    unit = NATS if inputs.model.likelihood.is_density else "as the likelihood defines it"
    drawn = [_chart(inputs, "distortion", "Distortion D", unit, [D])]
    if _has_rate(inputs):
        total = Curve("negative_elbo", "D + R", TOTAL)
        drawn.append(_chart(inputs, "rate", "Rate R", NATS, [R]))
        drawn.append(_chart(inputs, "negative_elbo", "Negative ELBO D + R", NATS, [total]))
    return drawn


def _weighted(inputs: Inputs) -> list[Chart]:
    unit = NATS if inputs.model.likelihood.is_density else ""
    if not _has_rate(inputs):
        loss = Curve("weighted_loss", "αD", INK)
        return [_chart(inputs, "weighted_loss", "Weighted loss αD", unit, [loss])]
    terms = [Curve("weighted_distortion", "αD", DISTORTION), Curve("weighted_rate", "βR", RATE)]
    named = "αD and βR"
    if _has_penalty(inputs):
        terms.append(Curve("weighted_penalty", "penalty", MUTED))
        named = "αD, βR and penalty"
    sum_of = " + ".join(term.name for term in terms)
    loss = Curve("weighted_loss", sum_of, INK)
    return [
        _chart(inputs, "weighted_terms", f"Weighted {named}", unit, terms),
        _chart(inputs, "weighted_loss", f"Weighted loss {sum_of}", unit, [loss]),
    ]


def _gradients(inputs: Inputs) -> Chart:
    curves = [Curve("gradient_norm/distortion", "αD", DISTORTION)]
    if _has_rate(inputs):
        curves.append(Curve("gradient_norm/rate", "βR", RATE))
    if "gradient_norm/penalty" in inputs.history:
        curves.append(Curve("gradient_norm/penalty", "penalty", MUTED))
    unit = f"gradient norm of {', '.join(curve.name for curve in curves)}"
    return _chart(inputs, "gradient_norms", "Gradient norms", unit, curves, logarithmic=True)


def _components(inputs: Inputs) -> list[Chart]:
    """Draw each component of the penalty, including those of weight 0."""
    return [
        _chart(inputs, name, name.replace("_", " ").capitalize(), "part of the penalty", [curve])
        for k, name in enumerate(penalty_components(inputs.history))
        for curve in [Curve(name, name.replace("_", " "), label_colour(k))]
    ]


def penalty_components(columns: Iterable[str]) -> list[str]:
    """Return the columns of history.csv that belong to the penalty, in their order."""
    trained = [name.removeprefix("train/") for name in columns if name.startswith("train/")]
    return [name for name in trained if name not in OF_EVERY_LOSS]


def _weights(inputs: Inputs) -> list[Chart]:
    """Draw the weights that change during training."""
    return [
        _chart(inputs, curve.column, f"Weight {curve.name}", "", [curve])
        for curve in (Curve("alpha", "α", DISTORTION), Curve("beta", "β", RATE))
        if len(set(inputs.history[f"train/{curve.column}"])) > 1
    ]


def _chart(
    inputs: Inputs,
    name: str,
    title: str,
    unit: str,
    curves: list[Curve],
    *,
    logarithmic: bool = False,
) -> Chart:
    return charts.epochs(
        name, title, unit, inputs.history, curves, _best(inputs), logarithmic=logarithmic
    )


def _best(inputs: Inputs) -> int:
    return int(inputs.best["epoch"])


def _has_penalty(inputs: Inputs) -> bool:
    return "train/weighted_penalty" in inputs.history


def _has_rate(inputs: Inputs) -> bool:
    return inputs.model.is_variational


def _numbers_at_best(inputs: Inputs) -> list[tuple[str, float, float]]:
    """Return the best epoch's numbers on training and validation."""
    best = inputs.best
    names = {
        "distortion": "D",
        "rate": "R",
        "negative_elbo": "D + R",
        "weighted_distortion": "αD",
        "weighted_rate": "βR",
        "weighted_penalty": "penalty",
        "weighted_loss": "weighted loss",
        "alpha": "α",
        "beta": "β",
    }
    if not _has_rate(inputs):
        names = {"distortion": "D", "weighted_loss": "αD", "alpha": "α"}
    names |= {name: name.replace("_", " ") for name in penalty_components(inputs.history)}
    return [
        (name, best[f"train/{key}"], best[f"validation/{key}"])
        for key, name in names.items()
        if f"train/{key}" in best
    ]
