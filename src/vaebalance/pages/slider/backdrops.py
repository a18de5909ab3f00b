"""Axes that stay while what they measure moves, as SVG that stands in the page itself.

Drawn once, by Vega; colours are CSS variables, so that they follow the page's scheme.
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

SIZE = (312, 272)  # of a plot: with its axes as wide as a phone, where text keeps its size
LEFT, TOP, RIGHT, BOTTOM = 50.0, 8.0, 8.0, 42.0  # about it: all charts are of one scale
MARGIN = 0.06  # of the curve's range, to each side
LEAST_SPAN = 1.0  # nats that an axis shows at least
NAME_SIZE = (56, 14)  # pixels of a place's name, about
ORIGIN = re.compile(r'transform="translate\(([\d.]+),([\d.]+)\)"')


@dataclass(frozen=True)
class _Drawing:
    """What Vega makes of a chart."""

    markup: str
    left: float
    top: float


@dataclass(frozen=True)
class Backdrop:
    """A chart's axes, and where on them a value is. It is drawn when its markup is wanted."""

    name: str
    layers: Sequence[alt.Chart]
    datasets: dict[str, Records]
    x: Domain
    y: Domain
    size: tuple[int, int] = SIZE
    """Of the plot, pixels."""

    @property
    def markup(self) -> str:
        """What an SVG with the view box holds."""
        return self._drawing.markup

    @property
    def left(self) -> float:
        """Of the plot within the markup, whose units are pixels, too."""
        return self._drawing.left

    @property
    def top(self) -> float:
        """The same from above."""
        return self._drawing.top

    @property
    def view_box(self) -> tuple[float, float, float, float]:
        """x, y, width, height."""
        width, height = self.size
        return self.left - LEFT, self.top - TOP, LEFT + width + RIGHT, TOP + height + BOTTOM

    def across(self, values: ArrayLike) -> NDArray[np.float64]:
        """Pixels from the plot's left side."""
        low, high = self.x
        return (np.asarray(values, np.float64) - low) / (high - low) * self.size[0]

    def down(self, values: ArrayLike) -> NDArray[np.float64]:
        """Pixels from the plot's top."""
        low, high = self.y
        return (high - np.asarray(values, np.float64)) / (high - low) * self.size[1]

    @cached_property
    def _drawing(self) -> _Drawing:
        import vl_convert

        spec = finish(self.layers, self.datasets, self.size, live=False, parameters={})
        svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
        origin = ORIGIN.search(svg)
        assert origin is not None  # the first group is the plot's
        inside = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
        # Clip paths are numbered: those of several charts must not share a page's names.
        numbers: dict[str, str] = {}
        inside = re.sub(
            r"\bclip\d+\b",
            lambda m: numbers.setdefault(m.group(), f"{self.name}-{len(numbers)}"),
            inside,
        )
        left, top = (float(length) for length in origin.groups())
        return _Drawing(inside, left, top)


@dataclass(frozen=True)
class Landmark:
    """A place on the curve that has a name."""

    name: str
    rate: float
    distortion: float


def curve(
    rates: Sequence[float], distortions: Sequence[float], landmarks: Sequence[Landmark]
) -> Backdrop:
    """The rate–distortion curve over lines of equal D + R.

    Args:
        rates: R of each state, in the order of β.
        distortions: D of each.
        landmarks: places that are named.
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
    """Where names stand: those that would touch are one, at the place of the highest rate."""
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
    """A plane about 0, of one scale in both directions.

    Args:
        reach: from 0 upwards, prior standard deviations.
        titles: of the axes; None: positions mean nothing.
    """
    y = (-reach, reach)
    x = (-reach * SIZE[0] / SIZE[1], reach * SIZE[0] / SIZE[1])
    axes = _axis("x", x, titles[0]) | _axis("y", y, titles[1])
    return Backdrop("plane", [_nothing(axes)], {"corners": _corners(x, y)}, x, y)


def bars(count: int, top: float) -> Backdrop:
    """Room for `count` bars of up to `top` nats, those of most rate on the left."""
    x, y = (0.0, float(count)), (0.0, top)
    axes = _axis("x", x, "latents, most rate first", labels=False)
    axes |= _axis("y", y, "nats per image", grid=True)
    return Backdrop("bars", [_nothing(axes)], {"corners": _corners(x, y)}, x, y)


def _nothing(axes: dict[str, Any]) -> alt.Chart:
    """Axes alone: Vega draws them for marks, be they unseen."""
    unseen: alt.Chart = on("corners").mark_point(opacity=0, color=MUTED).encode(**axes)
    return unseen


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
    seen = title is not None
    axis = alt.Axis(title=title, grid=grid, labels=labels and seen, ticks=labels and seen)
    return {channel: (alt.X if channel == "x" else alt.Y)(f"{channel}:Q", scale=scale, axis=axis)}
