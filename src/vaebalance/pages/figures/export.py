"""Export charts as PNG and SVG without a browser. The same charts give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vaebalance.pages.figures.charts import Chart, Spec, theme
from vaebalance.pages.figures.colours import LIGHT, resolved

SCALE = 2  # PNG pixels per CSS pixel


def export(charts: Sequence[Chart], columns: int = 2) -> dict[str, bytes]:
    """Render the charts side by side; returns PNG and SVG content by file extension."""
    import vl_convert

    spec = side_by_side(charts, columns)
    return {
        "png": vl_convert.vegalite_to_png(spec, scale=SCALE, allowed_base_urls=[]),
        "svg": _renumbered(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])).encode(),
    }


def files(name: str, charts: Sequence[Chart], columns: int) -> dict[str, bytes]:
    """Render the charts as `export` does; returns the content by file name."""
    return {f"{name}.{kind}": content for kind, content in export(charts, columns).items()}


def side_by_side(charts: Sequence[Chart], columns: int) -> Spec:
    """Combine the charts into one light specification, each with its title above it."""
    parts = []
    for chart in charts:
        part = {key: value for key, value in chart.still.items() if key not in ("config",)}
        heading = {"text": chart.title, "subtitle": chart.unit}
        # Two charts may use the same data set name, so each keeps its own data.
        parts.append(_own_data(part, part.pop("datasets")) | {"title": heading})
    config = theme() | {"background": LIGHT.paper, "padding": 16}
    spec: Spec = resolved({"concat": parts, "columns": columns, "config": config}, LIGHT)
    return spec | {"resolve": {"scale": {"color": "independent", "shape": "independent"}}}


def _own_data(spec: Spec, datasets: Mapping[str, Spec]) -> Spec:
    """Replace the name of each data set in `spec` by its values.

    Layers lose their names as well: Vega-Lite would take one chart's data for another's by them.
    """
    own = {key: value for key, value in spec.items() if key != "name"}
    if "data" in own:
        own["data"] = {"values": datasets[own["data"]["name"]]}
    if "layer" in own:
        own["layer"] = [_own_data(layer, datasets) for layer in own["layer"]]
    return own


def _renumbered(svg: str) -> str:
    """Renumber clip paths from 0: vl-convert keeps counting from one drawing to the next."""
    seen: dict[str, str] = {}
    return re.sub(r"\bclip\d+\b", lambda m: seen.setdefault(m.group(), f"clip{len(seen)}"), svg)
