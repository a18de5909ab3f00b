"""Panels -> one HTML page that needs no other file and no network.

All text goes through Jinja's escaping, all data through JSON in which no tag can close, and the
page's own content security policy lets nothing in but its two scripts and inline pictures.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from vaebalance.figures.colours import style_sheet
from vaebalance.report.blocks import Charts, Panel, Planes
from vaebalance.report.summary import Summary
from vaebalance.report.vega import vega_bundle


def render(summary: Summary, panels: Sequence[Panel]) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    library, script = vega_bundle(), _text("page.js")
    environment = Environment(
        loader=FileSystemLoader(str(resources.files(__package__))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        summary=summary,
        panels=panels,
        style=Markup(style_sheet() + _text("page.css")),
        data=Markup(inline_json(_data(panels))),
        library=Markup(library),
        script=Markup(script),
        policy=_policy(library, script),
    )


def inline_json(value: Any) -> str:
    """JSON for a script tag: no character in it means anything to HTML."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data(panels: Sequence[Panel]) -> dict[str, Any]:
    """What the script needs: charts by name, and for each panel of planes its points' names."""
    charts = {
        chart.name: {"spec": chart.live, "pointsAt": chart.points_at}
        for panel in panels
        for block in panel.blocks
        if isinstance(block, Charts | Planes)
        for chart in block.charts
    }
    planes = {
        panel.anchor: {
            "names": block.image_names,
            "atlas": None if block.atlas is None else vars(block.atlas),
        }
        for panel in panels
        for block in panel.blocks
        if isinstance(block, Planes)
    }
    return {"charts": charts, "planes": planes}


def _policy(*scripts: str) -> str:
    """Only these scripts run; Vega compiles its expressions, hence unsafe-eval."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {sources} 'unsafe-eval'; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
