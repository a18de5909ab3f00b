"""The runs in the rate–distortion plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from vaebalance.pages.comparison.compared_runs import ComparedRun
from vaebalance.pages.figures.charts import Chart
from vaebalance.pages.figures.export import files
from vaebalance.pages.figures.rate_distortion import OperatingPoint, rate_distortion
from vaebalance.pages.kit.blocks import Charts, Key, Panel
from vaebalance.pages.report.comparable_runs import operating_point


def plane(runs: Sequence[ComparedRun]) -> Panel:
    """Show the runs in one rate–distortion plane per group of comparable runs."""
    anchor = ("rate-distortion", "Rate against distortion", "Rate against distortion")
    ordered = sorted(runs, key=lambda run: (run.digest, run.likelihood_key))
    drawn: list[Chart] = []
    for _, group in groupby(ordered, lambda run: (run.digest, run.likelihood_key)):
        points = [point for run in group if (point := _point(run)) is not None]
        if points:
            name = f"rate_distortion_{len(drawn) + 1}"
            drawn.append(rate_distortion(name, points, "test images, nats per image"))
    if not drawn:
        return Panel(*anchor, "Plain autoencoders have no rate.", ())
    apart = " Runs whose nats are not comparable have separate planes." if len(drawn) > 1 else ""
    return Panel(
        *anchor,
        "D + R, the negative ELBO, is constant along a grey line; lower lines are better." + apart,
        (
            Charts(
                tuple(drawn),
                (Key("dot distortion", "runs"), Key("line rule", "equal D + R")),
                is_wide=True,
            ),
        ),
        files("rate_distortion", drawn, columns=1),
    )


def _point(run: ComparedRun) -> OperatingPoint | None:
    test, last = run.evaluated.evaluation["test"], run.evaluated.best
    metrics = {f"test/{name}": value for name, value in test.items() if value is not None}
    metrics |= {f"test/{name}": last[f"validation/{name}"] for name in ("alpha", "beta")}
    point = operating_point(run.title, "run", metrics, "test/")
    return point and replace(point, label=run.letter)
