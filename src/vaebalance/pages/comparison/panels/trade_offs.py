"""The runs between rate and distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from vaebalance.pages.comparison.compared_runs import Contender
from vaebalance.pages.figures.charts import Chart
from vaebalance.pages.figures.export import files
from vaebalance.pages.figures.rate_distortion import OperatingPoint, rate_distortion
from vaebalance.pages.kit.blocks import Charts, Key, Panel
from vaebalance.pages.report.comparable_runs import operating_point


def plane(contenders: Sequence[Contender]) -> Panel:
    """The runs between rate and distortion, in one plane where their nats compare."""
    anchor = ("rate-distortion", "Rate against distortion", "Rate against distortion")
    ordered = sorted(contenders, key=lambda c: (c.digest, c.nats_of))
    drawn: list[Chart] = []
    for _, group in groupby(ordered, lambda c: (c.digest, c.nats_of)):
        points = [point for contender in group if (point := _point(contender)) is not None]
        if points:
            name = f"rate_distortion_{len(drawn) + 1}"
            drawn.append(rate_distortion(name, points, "test images, nats per image"))
    if not drawn:
        return Panel(*anchor, "Plain autoencoders have no rate.", ())
    apart = " Runs whose nats do not compare have planes of their own." if len(drawn) > 1 else ""
    return Panel(
        *anchor,
        "On a grey line D + R, the negative ELBO, is the same; lower lines are better." + apart,
        (
            Charts(
                tuple(drawn),
                (Key("dot distortion", "runs"), Key("line rule", "equal D + R")),
                is_wide=True,
            ),
        ),
        files("rate_distortion", drawn, columns=1),
    )


def _point(contender: Contender) -> OperatingPoint | None:
    test, last = contender.evaluated.evaluation["test"], contender.evaluated.best
    metrics = {f"test/{name}": value for name, value in test.items() if value is not None}
    metrics |= {f"test/{name}": last[f"validation/{name}"] for name in ("alpha", "beta")}
    point = operating_point(contender.title, "run", metrics, "test/")
    return point and replace(point, label=contender.letter)
