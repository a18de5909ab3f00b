"""Vega-Lite charts.

Each chart has two specifications: `live` for a page (it follows the pointer and its container's
width; its colours are CSS variables) and `still` for a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaebalance.pages.figures.colours import (
    INK,
    LABEL_COLOURS,
    MUTED,
    PAPER,
    RATE,
    RULE,
    label_colour,
)
from vaebalance.pages.figures.planes import Plane

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, Any]
Records = list[dict[str, Any]]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif'
SMALL, WIDE, SQUARE = (300, 170), (640, 190), (440, 440)  # pixels of a chart in a file
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
PRIOR_RINGS = (1, 2, 3)  # prior standard deviations
FEW_POINTS = 3000  # with more, points are smaller
CHOSEN = "label < 0 || datum.label === label"  # the reader selected this label, or none
NAME_LENGTH = 14  # characters of a class's name within a chart
MOST_NAMES = 20  # classes named within the plane
LEAST_VARIANCE = 1e-6  # drawn in place of smaller values: a collapsed latent's may be 0


@dataclass(frozen=True)
class Chart:
    """A chart with its title, unit and text description."""

    name: str
    """File name without extension, and the chart's key on the page."""
    title: str
    unit: str
    description: str
    """Text alternative for readers who cannot see the chart."""
    live: Spec
    still: Spec
    points_at: str
    """Field of the data that links charts: pointing at a value marks it in all of them."""


@dataclass(frozen=True)
class Curve:
    """A quantity over epochs."""

    column: str
    """Column in the table: `<column>`, or `train/<column>` and `validation/<column>`."""
    name: str
    colour: str


def epochs(
    name: str,
    title: str,
    unit: str,
    table: Mapping[str, Sequence[float]],
    curves: Sequence[Curve],
    best_epoch: int,
    *,
    logarithmic: bool = False,
) -> Chart:
    """Draw curves over epochs: validation solid, train dashed, a dotted line at the best epoch.

    A logarithmic axis omits values that are not positive.
    """
    series = [
        (curve, split, [float(value) for value in table[column]])
        for curve in curves
        for split in ("train", "validation", "")
        if (column := f"{split}/{curve.column}".lstrip("/")) in table
    ]
    numbers = [int(epoch) for epoch in table["epoch"]]
    points: Records = [
        {"epoch": epoch, "value": value, "curve": curve.name, "split": split or "validation"}
        for curve, split, values in series
        for epoch, value in zip(numbers, values, strict=True)
        if math.isfinite(value) and (value > 0 or not logarithmic)
    ]
    rows: Records = [
        {"epoch": epoch}
        | {
            f"value{k}": values[i]
            for k, (_, _, values) in enumerate(series)
            if math.isfinite(values[i])
        }
        for i, epoch in enumerate(numbers)
    ]
    tooltips = {f"value{k}": f"{c.name} {split}".strip() for k, (c, split, _) in enumerate(series)}
    if logarithmic:
        values = _logarithmic_axis([point["value"] for point in points])
    else:
        values = _linear_axis(visible_range([values for _, _, values in series]))
    datasets = {"points": points, "rows": rows, "best": [{"epoch": best_epoch}]}

    def draw(*, live: bool) -> Spec:
        x = _epoch_axis(numbers)
        layers = [
            on("best").mark_rule(color=MUTED, strokeDash=[1, 3]).encode(x=x),
            _curves(curves, x, values),
            *(_epoch_pointer(tooltips, x) if live else []),
        ]
        return finish(layers, datasets, SMALL, live=live, parameters={"at": None})

    best = numbers.index(best_epoch)
    ranges = "; ".join(
        f"{curve.name} {split} from {values[0]:.4g} to {values[best]:.4g}".replace("  ", " ")
        for curve, split, values in series
    )
    description = f"{title}, {unit}, from epoch 1 to the best epoch {best_epoch}: {ranges}."
    return Chart(name, title, unit, description, draw(live=True), draw(live=False), "epoch")


def visible_range(series: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the range to show if the first epochs would flatten the rest, otherwise None.

    The start is cut off if the full range exceeds three times that of the last 90 % of epochs.
    """
    finite = [[v for v in values if math.isfinite(v)] for values in series]
    pooled = [v for values in finite for v in values]
    later = [v for values in finite for v in values[len(values) // 10 :]]
    if not pooled or min(map(len, finite)) < 10:
        return None
    low, high = min(later), max(later)
    if low == high or max(pooled) - min(pooled) <= 3 * (high - low):
        return None
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def rate_by_latent(records: Records, *, has_rate: bool, threshold: float) -> list[Chart]:
    """Draw the rate and Var_x(E[z|x]) of each latent, in the order of `records`.

    Args:
        records: one per latent: `latent` (its name), `variance`, `active` and, if `has_rate`,
            `rate`; sorted.
        has_rate: whether latents have a rate; those of a plain autoencoder have none.
        threshold: variance above which a latent is active.
    """
    charts = []
    active = sum(record["active"] for record in records)
    if has_rate:
        first = records[0]
        charts.append(
            _latent_chart(
                "rate_by_latent",
                "Rate of each latent",
                "nats per image, highest first",
                f"Bars: {len(records)} latents, {active} active; {first['latent']} has the "
                f"highest rate, {first['rate']:.3g} nats.",
                records,
                bars=True,
                threshold=None,
                top=None if first["rate"] > 0 else 1.0,
            )
        )
    shown = [r | {"variance": max(r["variance"], LEAST_VARIANCE)} for r in records]
    charts.append(
        _latent_chart(
            "variance_by_latent",
            "Variance of the posterior mean, Var_x(E[z|x])",
            f"dashed: threshold of an active latent, {threshold:g}",
            f"Points on a logarithmic axis: {active} of {len(records)} latents lie above the "
            f"threshold {threshold:g}.",
            shown,
            bars=False,
            threshold=threshold,
        )
    )
    return charts


def rates(name: str, title: str, records: Records, top: float) -> Chart:
    """Draw the rate of each latent, as `rate_by_latent` does, on an axis up to `top`."""
    unit = f"{sum(record['active'] for record in records)} of {len(records)} active"
    first = f"{records[0]['latent']} has the highest rate, {records[0]['rate']:.3g} nats"
    return _latent_chart(
        name,
        title,
        unit,
        f"Bars, {title}: {unit}; {first}.",
        records,
        bars=True,
        threshold=None,
        top=top,
    )


def latent_plane(name: str, plane: Plane, labels: Sequence[int], names: Sequence[str]) -> Chart:
    """Draw codes in a plane, coloured by label, with the prior's circles if the plane has them.

    Args:
        name: file name without extension.
        plane: the positions of the codes.
        labels: label of each code; -1 for none.
        names: name of each label.
    """
    decimals = decimals_within(plane.limits[1] - plane.limits[0])
    points = [
        {
            "i": i,
            "x": round(float(x), decimals),
            "y": round(float(y), decimals),
            "label": int(label),
        }
        for i, ((x, y), label) in enumerate(zip(plane.points, labels, strict=True))
    ]
    datasets: dict[str, Records] = {"codes": points}
    if plane.has_prior:
        datasets |= {"rings": _rings(), "ring_names": _ring_names()}
    if 0 < len(names) <= MOST_NAMES:
        datasets["names"] = _medians(points, names)
    limits = dict(zip(("x0", "x1", "y0", "y1"), plane.limits, strict=True))

    def draw(*, live: bool) -> Spec:
        return finish(
            _plane_layers(plane, datasets, len(names), limits, live=live),
            datasets,
            SQUARE,
            live=live,
            parameters={**limits, "label": -1, "at": None},
        )

    rings = "; dashed circles mark one, two and three prior standard deviations from 0"
    description = (
        f"{plane.title}: {len(points):,} test images as points"
        f"{' coloured by label' if names else ''}{rings if plane.has_prior else ''}."
    )
    return Chart(name, plane.title, plane.unit, description, draw(live=True), draw(live=False), "i")


def decimals_within(width: float) -> int:
    """How many decimals a coordinate needs on an axis of this width: 4, or more if it is narrow."""
    return max(4, 4 - math.floor(math.log10(width)))


def theme() -> Spec:
    """Return the common Vega-Lite config: light axes, no frame, the page's fonts and colours."""
    axis = {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelPadding": 5,
        "tickCount": 5,
        "tickSize": 4,
    }
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "title": {
            "anchor": "start",
            "color": INK,
            "fontSize": 13,
            "subtitleColor": MUTED,
            "subtitleFontSize": 11,
            "offset": 10,
        },
        "aria": False,  # the page describes the chart; a screen reader must not read every point
    }


def finish(
    layers: Sequence[alt.Chart],
    datasets: Mapping[str, Records],
    size: tuple[int, int],
    *,
    live: bool,
    parameters: Mapping[str, Any],
) -> Spec:
    """Combine the layers into one specification, with each data set stored once."""
    import altair as alt

    # Passing the data through Altair would copy it for each layer, and validation repeats what
    # the tests check: each takes a second per report.
    spec: Spec = alt.layer(*layers, config=theme()).to_dict(validate=False)
    del spec["$schema"]
    spec |= {"width": "container" if live else size[0], "height": size[1]}
    if live and parameters:
        spec["params"] = [{"name": n, "value": v} for n, v in parameters.items()]
    return spec | {"datasets": dict(datasets)}


def on(dataset: str) -> alt.Chart:
    import altair as alt

    return alt.Chart(alt.NamedData(dataset))


def _epoch_axis(epochs: Sequence[int]) -> alt.X:
    import altair as alt

    return alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[epochs[0], max(epochs[-1], epochs[0] + 1)], nice=False),
        axis=alt.Axis(title="epoch", format="d", tickMinStep=1),
    )


def _linear_axis(domain: tuple[float, float] | None) -> alt.Y:
    import altair as alt

    if domain is None:
        scale = alt.Scale(zero=False)
    else:
        scale = alt.Scale(zero=False, nice=False, domain=list(domain))
    return alt.Y("value:Q", scale=scale, axis=alt.Axis(title=None, format=",.6~g", minExtent=28))


def _logarithmic_axis(values: Sequence[float]) -> alt.Y:
    """Label 1, 2 and 5 of each decade, or only 1 if there are more than three decades."""
    import altair as alt

    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    if low == high:
        low, high = low / 2, high * 2
    decades = _decades([low, high])
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    labels = [decade * step for decade in decades for step in steps]
    axis = alt.Axis(title=None, format=".4~g", values=labels, minExtent=28)
    scale = alt.Scale(type="log", nice=False, domain=[low, high])
    return alt.Y("value:Q", scale=scale, axis=axis)


def _curves(curves: Sequence[Curve], x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    colours = alt.Scale(domain=[c.name for c in curves], range=[c.colour for c in curves])
    splits = ["train", "validation"]
    dashes = alt.Scale(domain=splits, range=[[3, 3], [1, 0]])
    widths = alt.Scale(domain=splits, range=[1.5, 2])
    chart: alt.Chart = (
        on("points")
        .mark_line(clip=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color("curve:N", legend=None, scale=colours),
            strokeDash=alt.StrokeDash("split:O", legend=None, scale=dashes),
            strokeWidth=alt.StrokeWidth("split:O", legend=None, scale=widths),
        )
    )
    return chart


def _epoch_pointer(tooltips: Mapping[str, str], x: alt.X) -> list[alt.Chart]:
    """Draw a line at the epoch pointed at, and invisible bands that catch the pointer."""
    import altair as alt

    fields = [alt.Tooltip("epoch:Q")]
    fields += [alt.Tooltip(f"{key}:Q", title=t, format=".5~g") for key, t in tooltips.items()]
    line = on("rows").mark_rule(color=INK).transform_filter("datum.epoch === at")
    bands = on("rows").mark_rule(opacity=0, strokeWidth=12)
    return [line.encode(x=x), bands.encode(x=x, tooltip=fields)]


def _latent_chart(
    name: str,
    title: str,
    unit: str,
    description: str,
    records: Records,
    *,
    bars: bool,
    threshold: float | None,
    top: float | None = None,
) -> Chart:
    import altair as alt

    order = [record["latent"] for record in records]
    x = alt.X(
        "latent:O",
        sort=order,
        scale=alt.Scale(type="band", paddingInner=0.4, paddingOuter=0.2),
        axis=alt.Axis(title=None, labelAngle=0, labelOverlap=True, ticks=False),
    )
    colour = alt.Color(
        "active:N", legend=None, scale=alt.Scale(domain=[True, False], range=[RATE, MUTED])
    )
    tooltip = [
        alt.Tooltip("latent:O"),
        *([alt.Tooltip("rate:Q", title="rate, nats", format=".4~g")] if bars else []),
        alt.Tooltip("variance:Q", title="Var(E[z|x])", format=".3~g"),
        alt.Tooltip("active:N"),
    ]
    if bars:
        narrow = alt.ExprRef("min(48, bandwidth('x'))")
        marks = on("latents").mark_bar(cornerRadiusEnd=2, width=narrow)
        scale = alt.Undefined if top is None else alt.Scale(domain=[0, top], nice=False)
        y = alt.Y("rate:Q", scale=scale, axis=alt.Axis(title=None, minExtent=40))
    else:
        marks = on("latents").mark_point(filled=True, size=60, opacity=1)
        decades = _decades([r["variance"] for r in records] + [threshold or 1.0])
        y = alt.Y(
            "variance:Q",
            scale=alt.Scale(type="log", domain=[decades[0], decades[-1]], nice=False),
            axis=alt.Axis(title=None, format=".4~g", values=decades, minExtent=40),
        )
    layers = [marks.encode(x=x, y=y, color=colour, tooltip=tooltip)]
    datasets = {"latents": records}
    if threshold:
        datasets["threshold"] = [{"variance": threshold}]
        layers.append(
            on("threshold").mark_rule(color=INK, strokeDash=[4, 3]).encode(y="variance:Q")
        )
    still = finish(layers, datasets, WIDE, live=False, parameters={})
    pointed = on("latents").mark_rule(color=INK).transform_filter("datum.latent === at")
    layers.append(pointed.encode(x=x).properties(name="over0"))
    live = finish(layers, datasets, WIDE, live=True, parameters={"at": None})
    return Chart(name, title, unit, description, live, still, "latent")


def _decades(values: Sequence[float]) -> list[float]:
    """Return the powers of ten that enclose `values`."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _plane_layers(
    plane: Plane,
    datasets: Mapping[str, Records],
    classes: int,
    limits: Mapping[str, float],
    *,
    live: bool,
) -> list[alt.Chart]:
    import altair as alt

    def axis(channel: str) -> Any:
        kind = {"x": alt.X, "y": alt.Y}[channel]
        ends = [f"{channel}0", f"{channel}1"]
        domain = [alt.expr(end) if live else limits[end] for end in ends]
        scale = alt.Scale(domain=domain, nice=False, zero=False)
        title = plane.axes[channel]
        shown = alt.Axis(title=title, grid=False, tickCount=7) if title else None
        return kind(f"{channel}:Q", scale=scale, axis=shown)

    x, y = axis("x"), axis("y")
    layers = [_points(len(datasets["codes"]), classes, live=live).encode(x=x, y=y)]
    if "rings" in datasets:
        rings = on("rings").mark_line(clip=True, color=MUTED, strokeDash=[4, 3], strokeWidth=1)
        layers.append(rings.encode(x=x, y=y, detail="r:N", order="t:Q"))
        words = on("ring_names").mark_text(
            clip=True, color=MUTED, align="left", dx=3, dy=-3, fontSize=10
        )
        layers.append(words.encode(x=x, y=y, text=alt.Text("name:N")))
    if "names" in datasets:
        layers += _names(x, y, live=live)
    if live:
        ring = on("codes").mark_point(size=170, color=INK, strokeWidth=2, clip=True)
        layers.append(ring.transform_filter("datum.i === at").encode(x=x, y=y))
    # page.css lets the pointer pass through layers named `over…` to the points below.
    return [layers[0], *(layer.properties(name=f"over{k}") for k, layer in enumerate(layers[1:]))]


def _points(count: int, classes: int, *, live: bool) -> alt.Chart:
    import altair as alt

    size, opacity = (26, 0.75) if count <= FEW_POINTS else (10, 0.6)
    style: Any = {"tooltip": {"content": "data"}} if live else {"opacity": opacity}
    chart: alt.Chart = on("codes").mark_point(filled=True, clip=True, size=size, **style)
    if classes:
        domain = list(range(classes))
        shapes = [SHAPES[k // LABEL_COLOURS % len(SHAPES)] for k in domain]
        chart = chart.encode(
            color=alt.Color(
                "label:N",
                legend=None,
                scale=alt.Scale(
                    domain=[-1, *domain], range=[MUTED, *[label_colour(k) for k in domain]]
                ),
            ),
            shape=alt.Shape(
                "label:N",
                legend=None,
                scale=alt.Scale(domain=[-1, *domain], range=["circle", *shapes]),
            ),
        )
    else:
        chart = chart.encode(color=alt.value(label_colour(0)))
    if not live:
        return chart
    chosen = alt.condition(
        "label < 0 || datum.label === label", alt.value(opacity), alt.value(0.06)
    )
    chart = chart.encode(opacity=chosen)
    return chart


def _names(x: Any, y: Any, *, live: bool) -> list[alt.Chart]:
    """Draw the class names at their medians, with a halo."""
    import altair as alt

    style: Any = {"fontSize": 13, "fontWeight": 700, "clip": True}
    halo = on("names").mark_text(**style, color=PAPER, stroke=PAPER, strokeWidth=4)
    words = on("names").mark_text(**style, color=INK)
    layers = [layer.encode(x=x, y=y, text=alt.Text("name:N")) for layer in (halo, words)]
    if not live:
        return layers
    chosen = alt.condition(CHOSEN, alt.value(1), alt.value(0))
    return [layer.encode(opacity=chosen) for layer in layers]


def _rings() -> Records:
    turn = [2 * math.pi * step / 72 for step in range(73)]
    return [
        {"r": r, "t": k, "x": round(r * math.cos(t), 4), "y": round(r * math.sin(t), 4)}
        for r in PRIOR_RINGS
        for k, t in enumerate(turn)
    ]


def _ring_names() -> Records:
    return [{"x": r * 0.7072, "y": r * 0.7072, "name": f"{r} sd"} for r in PRIOR_RINGS]


def _medians(points: Records, names: Sequence[str]) -> Records:
    from statistics import median

    records = []
    for label, name in enumerate(names):
        inside = [point for point in points if point["label"] == label]
        if inside:
            text = name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
            place = {axis: median(point[axis] for point in inside) for axis in ("x", "y")}
            records.append({"name": text, "label": label, **place})
    return records
