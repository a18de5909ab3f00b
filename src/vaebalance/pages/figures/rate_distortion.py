"""The rate–distortion plane (Alemi et al. 2018): models over lines of equal D + R."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from vaebalance.pages.figures.charts import Chart, Records, Spec, finish, on
from vaebalance.pages.figures.colours import DISTORTION, INK, MUTED, PAPER, RULE, TOTAL

if TYPE_CHECKING:
    import altair as alt

Domain = tuple[float, float]

SIZE = (640, 400)  # pixels of the chart in a file
MARGIN = 0.08  # on each side, as a fraction of the points' range
LEAST_SPAN = 2.0  # nats that an axis spans at least
ISOLINES = 9  # at most
NEAR = 0.05  # fraction of both ranges within which points share one label
MOST_JOINED = 3  # labels that are joined into one
NUMBERS = {"rate": "R", "distortion": "D", "total": "D + R", "nll": "test nll"}
MARKS = {  # kind -> shape, colour, size, whether filled
    "trial": ("triangle-up", MUTED, 45, False),
    "run": ("circle", DISTORTION, 75, True),
    "this run": ("diamond", TOTAL, 260, True),
}


@dataclass(frozen=True)
class OperatingPoint:
    """A model in the rate–distortion plane."""

    name: str
    kind: Literal["trial", "run", "this run"]
    weights: str
    """α and β."""
    label: str
    """Text beside the mark."""
    rate: float
    """R, nats per image; R and D of all points are measured on the same images."""
    distortion: float
    """D, nats per image."""
    nll: float | None = None
    """nll of the test split, nats per image."""


def rate_distortion(name: str, points: Sequence[OperatingPoint], unit: str) -> Chart:
    """Draw the points over lines of equal D + R, with a dashed line through "this run".

    Args:
        name: file name without extension.
        points: at least one; "this run" is drawn on top.
        unit: unit of both axes.
    """
    x, y = (_domain([getattr(p, axis) for p in points]) for axis in ("rate", "distortion"))
    this_run = [p.rate + p.distortion for p in points if p.kind == "this run"]
    datasets: dict[str, Records] = {
        "points": [_record(i, point) for i, point in enumerate(points)],
        "lines": [_line(total, x, y) for total in isolines(x, y)],
        "own": [_line(total, x, y) for total in this_run],
        "labels": _labels(points, x, y),
    }

    def draw(*, live: bool) -> Spec:
        layers = _layers(datasets, x, y, live=live)
        return finish(layers, datasets, SIZE, live=live, parameters={"at": None})

    title = "Rate–distortion plane"
    return Chart(name, title, unit, _description(points), draw(live=True), draw(live=False), "i")


def isolines(x: Domain, y: Domain) -> list[float]:
    """Return at most `ISOLINES` round values of D + R whose lines cross the plane."""
    low, high = x[0] + y[0], x[1] + y[1]
    rough = (high - low) / ISOLINES
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = math.floor(low / step) + 1
    return [round(step * k, 10) for k in range(first, math.ceil(high / step))]


def _domain(values: Sequence[float]) -> Domain:
    low, high = min(values), max(values)
    margin = max(MARGIN * (high - low), (LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _line(total: float, x: Domain, y: Domain) -> dict[str, Any]:
    """Clip the line D + R = total to the plane: from (x, y), top left, to (x2, y2)."""
    left, right = max(x[0], total - y[1]), min(x[1], total - y[0])
    return {
        "x": left,
        "y": total - left,
        "x2": right,
        "y2": total - right,
        "name": f"D + R = {total:g}",
    }


def _record(i: int, point: OperatingPoint) -> dict[str, Any]:
    values = {name: value for name, value in asdict(point).items() if value is not None}
    return {"i": i, **values, "total": point.rate + point.distortion}


def _labels(points: Sequence[OperatingPoint], x: Domain, y: Domain) -> Records:
    """Label all points except trials; points close to each other share a label."""
    groups: list[list[OperatingPoint]] = []
    for point in sorted((p for p in points if p.kind != "trial"), key=lambda p: p.kind == "run"):
        for group in groups:
            across = abs(point.rate - group[0].rate) / (x[1] - x[0])
            upwards = abs(point.distortion - group[0].distortion) / (y[1] - y[0])
            if max(across, upwards) < NEAR:
                group.append(point)
                break
        else:
            groups.append([point])
    middle = (x[0] + x[1]) / 2
    return [
        {
            "x": group[0].rate,
            "y": group[0].distortion,
            "label": _joined(list(dict.fromkeys(point.label for point in group))),
            "left": group[0].rate > middle,
        }
        for group in groups
    ]


def _joined(labels: Sequence[str]) -> str:
    more = ", …" if len(labels) > MOST_JOINED else ""
    return ", ".join(labels[:MOST_JOINED]) + more


def _layers(datasets: dict[str, Records], x: Domain, y: Domain, *, live: bool) -> list[alt.Chart]:
    ends = _axes("x", "y", x, y)
    lines = ends | {"x2": "x2:Q", "y2": "y2:Q"}
    above: Any = {"fontSize": 10, "align": "left", "baseline": "bottom", "dx": 4, "dy": -2}
    layers = [
        on("lines").mark_rule(color=RULE).encode(**lines),
        on("own").mark_rule(color=TOTAL, strokeDash=[5, 4]).encode(**lines),
        *_haloed(on("lines"), above, MUTED, **ends, text="name:N"),
        *_marks(x, y, live=live),
    ]
    for left, align, dx in ((True, "right", -14), (False, "left", 14)):
        side = on("labels").transform_filter(f"datum.left === {str(left).lower()}")
        beside: Any = {"fontSize": 12, "baseline": "middle", "align": align, "dx": dx}
        layers += _haloed(side, beside, INK, **ends, text="label:N")
    if live:
        ring = on("points").mark_point(size=420, color=INK, strokeWidth=2)
        at = ring.transform_filter("datum.i === at")
        layers.append(at.encode(x="rate:Q", y="distortion:Q").properties(name="over0"))
    return layers


def _marks(x: Domain, y: Domain, *, live: bool) -> list[alt.Chart]:
    """Draw the points, one layer per kind."""
    import altair as alt

    base = on("points").mark_point(opacity=1, strokeWidth=1.5)
    base = base.encode(**_axes("rate", "distortion", x, y))
    if live:
        fields = [alt.Tooltip(f"{name}:N") for name in ("name", "weights")]
        fields += [alt.Tooltip(f"{f}:Q", title=t, format=".5~g") for f, t in NUMBERS.items()]
        base = base.encode(tooltip=fields)
    return [
        base.transform_filter(f"datum.kind === '{kind}'").encode(
            shape=alt.value(shape),
            size=alt.value(size),
            stroke=alt.value(colour),
            fill=alt.value(colour if filled else "transparent"),
        )
        for kind, (shape, colour, size, filled) in MARKS.items()
    ]


def _axes(across: str, upwards: str, x: Domain, y: Domain) -> dict[str, Any]:
    """Return the plane's axes for data with these fields."""
    import altair as alt

    def axis(kind: Any, field: str, domain: Domain, title: str) -> Any:
        scale = alt.Scale(domain=list(domain), nice=False, zero=False)
        return kind(f"{field}:Q", scale=scale, axis=alt.Axis(title=title, grid=False))

    return {
        "x": axis(alt.X, across, x, "rate R, nats per image"),
        "y": axis(alt.Y, upwards, y, "distortion D, nats per image"),
    }


def _haloed(base: alt.Chart, style: Any, colour: str, **channels: Any) -> list[alt.Chart]:
    """Draw text with a halo that separates it from the lines below."""
    halo = base.mark_text(**style, color=PAPER, stroke=PAPER, strokeWidth=4)
    return [text.encode(**channels) for text in (halo, base.mark_text(**style, color=colour))]


def _description(points: Sequence[OperatingPoint]) -> str:
    counts = {kind: sum(p.kind == kind for p in points) for kind in MARKS}
    parts = [f"{counts['run']} runs"] if counts["run"] else []
    parts += [f"{counts['trial']} study trials"] if counts["trial"] else []
    this_run = [p for p in points if p.kind == "this run"]
    parts += [f"this run at R {p.rate:.4g}, D {p.distortion:.4g}" for p in this_run]
    best = min(points, key=lambda p: p.rate + p.distortion)
    return (
        f"Rate–distortion plane: {', '.join(parts)}. {best.name} ({best.weights}) has the lowest "
        f"D + R, {best.rate + best.distortion:.4g} nats."
    )
