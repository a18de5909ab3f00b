"""The run and comparable runs in the rate–distortion plane."""

from __future__ import annotations

from dataclasses import replace

from vaebalance.pages.figures.export import files
from vaebalance.pages.figures.rate_distortion import OperatingPoint, rate_distortion
from vaebalance.pages.kit.blocks import Charts, Key, Panel, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted, number
from vaebalance.pages.report.comparable_runs import operating_point
from vaebalance.pages.report.inputs import Inputs

ANCHOR, TITLE = "rate-distortion", "Rate against distortion"
HEADER = ("name", "kind", "weights", "R", "D", "D + R", "test nll")


def rate_distortion_plane(inputs: Inputs) -> Panel:
    """Show the run and comparable runs in the rate–distortion plane."""
    if not inputs.model.is_variational:
        none = "A plain autoencoder has no rate, so it has no place in the rate–distortion plane."
        return Panel(ANCHOR, TITLE, TITLE, none, ())
    this_run = operating_point("this run", "this run", inputs.best, "validation/")
    assert this_run is not None  # training wrote all metrics
    this_run = replace(this_run, nll=inputs.evaluation["test"].get("importance_weighted_nll"))
    points = (*inputs.comparable_runs, this_run)
    chart = rate_distortion("rate_distortion", points, "validation images, nats per image")
    return Panel(
        ANCHOR,
        TITLE,
        TITLE,
        "Weights move a model along a frontier: less distortion costs rate. D + R, the negative "
        "ELBO, is constant along a grey line; models below the dashed line have a lower one than "
        f"this run. {_describe(inputs.comparable_runs)}",
        (
            Charts((chart,), _legend(points), is_wide=True),
            Table(
                "Points of the plane",
                HEADER,
                tuple(_row(point) for point in reversed(points)),
                numeric=(3, 4, 5, 6),
                is_folded=True,
            ),
        ),
        files("rate_distortion", [chart], columns=1)
        | {"rate_distortion.csv": as_csv(HEADER, [_cells(point) for point in reversed(points)])},
    )


def _describe(comparable_runs: tuple[OperatingPoint, ...]) -> str:
    if not comparable_runs:
        return (
            "MLflow had no other run of the same images and likelihood when this page was made: "
            "train with another weight, or start a study, to see more."
        )
    counts = [
        counted(sum(p.kind == kind for p in comparable_runs), noun)
        for kind, noun in (("run", "run"), ("trial", "study trial"))
        if any(p.kind == kind for p in comparable_runs)
    ]
    return (
        f"Also shown: {' and '.join(counts)} of the same images and likelihood that were in MLflow "
        "when this page was made. All points are measured on validation images at the epoch that "
        "was kept."
    )


def _legend(points: tuple[OperatingPoint, ...]) -> tuple[Key, ...]:
    kinds = {point.kind for point in points}
    keys = (
        ("this run", Key("diamond total", "this run")),
        ("run", Key("dot distortion", "other runs")),
        ("trial", Key("triangle muted", "study trials")),
    )
    lines = (Key("line rule", "equal D + R"), Key("line dashed total", "D + R of this run"))
    return (*(key for kind, key in keys if kind in kinds), *lines)


def _cells(point: OperatingPoint) -> tuple[str | float | None, ...]:
    total = point.rate + point.distortion
    return (point.name, point.kind, point.weights, point.rate, point.distortion, total, point.nll)


def _row(point: OperatingPoint) -> tuple[str, ...]:
    return tuple(
        "" if c is None else number(c) if isinstance(c, float) else c for c in _cells(point)
    )
