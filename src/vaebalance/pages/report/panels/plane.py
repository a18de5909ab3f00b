"""Where the run lies between rate and distortion, and others beside it."""

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
    """The run among its siblings."""
    if not inputs.model.is_variational:
        none = "A plain autoencoder has no rate, and so no place between rate and distortion."
        return Panel(ANCHOR, TITLE, TITLE, none, ())
    own = operating_point("this run", "this run", inputs.best, "validation/")
    assert own is not None  # training wrote all of it
    own = replace(own, nll=inputs.evaluation["test"].get("importance_weighted_nll"))
    points = (*inputs.siblings, own)
    chart = rate_distortion("rate_distortion", points, "validation images, nats per image")
    return Panel(
        ANCHOR,
        TITLE,
        TITLE,
        "Weights move a model along a frontier: less distortion costs rate. On a grey line D + R, "
        "the negative ELBO, is the same; what lies below the dashed line has a better one than "
        f"this run. {_said(inputs.siblings)}",
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


def _said(siblings: tuple[OperatingPoint, ...]) -> str:
    if not siblings:
        return (
            "No other run of the same images and likelihood was known when this page was made: "
            "train with another weight, or start a study, to see more."
        )
    counts = [
        counted(sum(p.kind == kind for p in siblings), noun)
        for kind, noun in (("run", "run"), ("trial", "study trial"))
        if any(p.kind == kind for p in siblings)
    ]
    return (
        f"Beside it {' and '.join(counts)} of the same images and the same likelihood, as MLflow "
        "knew them when this page was made; all by the validation images of the epoch that was "
        "kept."
    )


def _legend(points: tuple[OperatingPoint, ...]) -> tuple[Key, ...]:
    kinds = {point.kind for point in points}
    keys = (
        ("this run", Key("diamond total", "this run")),
        ("run", Key("dot distortion", "other runs")),
        ("trial", Key("triangle muted", "trials of studies")),
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
