"""Static axes of the slider's charts, as inline SVG.

Vega draws them once; colours are CSS variables, so that they follow the page's colour scheme.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaebalance.pages.figures.charts import Records, finish, on
from vaebalance.pages.figures.colours import INK, MUTED, PAPER, RULE
from vaebalance.pages.figures.rate_distortion import isolines

if TYPE_CHECKING:
    import altair as alt

Domain = tuple[float, float]

SIZE = (312, 272)  # pixels of a plot; with its axes it fits a phone without scaling
LEFT, TOP, RIGHT, BOTTOM = 50.0, 8.0, 8.0, 42.0  # margins, equal so that charts share one scale
MARGIN = 0.06  # on each side, as a fraction of the curve's range
LEAST_SPAN = 1.0  # nats that an axis spans at least
NAME_SIZE = (56, 14)  # approximate size of a landmark's name in pixels
ORIGIN = re.compile(r'transform="translate\(([\d.]+),([\d.]+)\)"')


@dataclass(frozen=True)
class _Drawing:
    """SVG content of a chart, with the offset of its plot."""

    markup: str
    left: float
    top: float


@dataclass(frozen=True)
class Backdrop:
    """A chart's axes and scales. Vega draws it when its markup is first read."""

    name: str
    layers: Sequence[alt.Chart]
    datasets: dict[str, Records]
    x: Domain
    y: Domain
    size: tuple[int, int] = SIZE
    """Width and height of the plot in pixels."""

    @property
    def markup(self) -> str:
        """Content of an SVG element with the view box."""
        return self._drawing.markup

    @property
    def left(self) -> float:
        """Left edge of the plot within the markup, in pixels."""
        return self._drawing.left

    @property
    def top(self) -> float:
        """Top edge of the plot within the markup, in pixels."""
        return self._drawing.top

    @property
    def view_box(self) -> tuple[float, float, float, float]:
        """View box: x, y, width, height."""
        width, height = self.size
        return self.left - LEFT, self.top - TOP, LEFT + width + RIGHT, TOP + height + BOTTOM

    def across(self, values: ArrayLike) -> NDArray[np.float64]:
        """Convert x values to pixels from the plot's left edge."""
        low, high = self.x
        return (np.asarray(values, np.float64) - low) / (high - low) * self.size[0]

    def down(self, values: ArrayLike) -> NDArray[np.float64]:
        """Convert y values to pixels from the plot's top edge."""
        low, high = self.y
        return (high - np.asarray(values, np.float64)) / (high - low) * self.size[1]

    @cached_property
    def _drawing(self) -> _Drawing:
        import vl_convert

        spec = finish(self.layers, self.datasets, self.size, live=False, parameters={})
        svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
        origin = ORIGIN.search(svg)
        assert origin is not None  # the first group is the plot's
        content = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
        # Rename the numbered clip paths: ids of several charts must differ on one page.
        numbers: dict[str, str] = {}
        content = re.sub(
            r"\bclip\d+\b",
            lambda m: numbers.setdefault(m.group(), f"{self.name}-{len(numbers)}"),
            content,
        )
        left, top = (float(length) for length in origin.groups())
        return _Drawing(content, left, top)


@dataclass(frozen=True)
class Landmark:
    """A named point on the curve."""

    name: str
    rate: float
    distortion: float


def curve(
    rates: Sequence[float], distortions: Sequence[float], landmarks: Sequence[Landmark]
) -> Backdrop:
    """Draw the rate–distortion curve over lines of equal D + R.

    Args:
        rates: R of each state, in the order of β.
        distortions: D of each state.
        landmarks: named points.
    """
    x, y = _domain(rates), _domain(distortions)
    steps = zip(rates, distortions, strict=True)
    datasets: dict[str, Records] = {
        "lines": [
            {"x": x[0], "y": total - x[0], "x2": x[1], "y2": total - x[1]}
            for total in isolines(x, y)
        ],
        "curve": [{"x": r, "y": d, "i": i} for i, (r, d) in enumerate(steps)],
        "landmarks": [{"x": mark.rate, "y": mark.distortion} for mark in landmarks],
        "names": _names(landmarks, x, y),
    }
    across, up = _axis("x", x, "rate R, nats per image"), _axis("y", y, "distortion D")
    ends = across | up | {"x2": "x2:Q", "y2": "y2:Q"}
    places = across | up
    name: Any = {"fontSize": 11, "align": "left", "baseline": "bottom", "dx": 9, "dy": -5}
    words = on("names")
    layers = [
        on("lines").mark_rule(color=RULE, clip=True).encode(**ends),
        on("curve").mark_line(color=MUTED, strokeWidth=2).encode(**places, order="i:Q"),
        on("curve").mark_point(color=MUTED, filled=True, size=12, opacity=1).encode(**places),
        on("landmarks").mark_point(color=INK, fill=PAPER, size=55, opacity=1).encode(**places),
        words.mark_text(**name, color=PAPER, stroke=PAPER, strokeWidth=4).encode(
            **places, text="name:N"
        ),
        words.mark_text(**name, color=INK).encode(**places, text="name:N"),
    ]
    return Backdrop("curve", layers, datasets, x, y)


def _names(landmarks: Sequence[Landmark], x: Domain, y: Domain) -> Records:
    """Place the names; names that would touch are joined at the point of highest rate."""
    right, down = SIZE[0] / (x[1] - x[0]), SIZE[1] / (y[1] - y[0])
    groups: list[list[Landmark]] = []
    for mark in sorted(landmarks, key=lambda mark: mark.rate):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and (mark.rate - last.rate) * right < NAME_SIZE[0]
            and abs(mark.distortion - last.distortion) * down < NAME_SIZE[1]
        ):
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [
        {"x": g[-1].rate, "y": g[-1].distortion, "name": ", ".join(mark.name for mark in g)}
        for g in groups
    ]


def plane(reach: float, titles: Sequence[str | None]) -> Backdrop:
    """Draw the axes of a plane centred on 0, with equal scales.

    Args:
        reach: distance from 0 to the upper edge, in prior standard deviations.
        titles: titles of the axes; None if positions have no meaning.
    """
    y = (-reach, reach)
    x = (-reach * SIZE[0] / SIZE[1], reach * SIZE[0] / SIZE[1])
    axes = _axis("x", x, titles[0]) | _axis("y", y, titles[1])
    return Backdrop("plane", [_invisible_marks(axes)], {"corners": _corners(x, y)}, x, y)


def bars(count: int, top: float) -> Backdrop:
    """Draw the axes for `count` bars of up to `top` nats, highest rate on the left."""
    x, y = (0.0, float(count)), (0.0, top)
    axes = _axis("x", x, "latents, highest rate first", labels=False)
    axes |= _axis("y", y, "nats per image", grid=True)
    return Backdrop("bars", [_invisible_marks(axes)], {"corners": _corners(x, y)}, x, y)


def _invisible_marks(axes: dict[str, Any]) -> alt.Chart:
    """Encode the axes with invisible marks, because Vega draws no axes without marks."""
    marks: alt.Chart = on("corners").mark_point(opacity=0, color=MUTED).encode(**axes)
    return marks


def _corners(x: Domain, y: Domain) -> Records:
    return [{"x": x[end], "y": y[end]} for end in (0, 1)]


def _domain(values: Sequence[float]) -> Domain:
    low, high = min(values), max(values)
    margin = max(MARGIN * (high - low), (LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _axis(
    channel: str, domain: Domain, title: str | None, *, grid: bool = False, labels: bool = True
) -> dict[str, Any]:
    import altair as alt

    scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    labels = labels and title is not None
    axis = alt.Axis(title=title, grid=grid, labels=labels, ticks=labels)
    return {channel: (alt.X if channel == "x" else alt.Y)(f"{channel}:Q", scale=scale, axis=axis)}
