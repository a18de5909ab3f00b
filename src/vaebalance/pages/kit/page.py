"""Render panels as one HTML page that needs no other file and no network.

Jinja escapes all text, data is JSON that cannot close a tag, and the page's content security
policy allows only its own scripts and inline pictures.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from vaebalance.pages.figures.colours import style_sheet
from vaebalance.pages.kit.blocks import Applet, Charts, Panel, Planes
from vaebalance.pages.kit.vega import vega_bundle
from vaebalance.pages.report.summary import Summary

if TYPE_CHECKING:
    from jinja2 import Environment


def render(summary: Summary, panels: Sequence[Panel]) -> str:
    """Render the page as HTML."""
    from markupsafe import Markup

    applets = [b for panel in panels for b in panel.blocks if isinstance(b, Applet)]
    scripts = [vega_bundle(), _text("page.js"), *(applet.script for applet in applets)]
    return (
        templates()
        .get_template("page.html")
        .render(
            summary=summary,
            panels=panels,
            style=Markup(look() + "".join(applet.style for applet in applets)),
            data=Markup(inline_json(_data(panels))),
            scripts=[Markup(script) for script in scripts],
            policy=content_policy(*scripts, compiles=True),
        )
    )


def templates(*packages: str) -> Environment:
    """Return the templates of `packages` and then of this one, with all text escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folders = [str(resources.files(package)) for package in (*packages, "vaebalance.pages.kit")]
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def look() -> str:
    """Return the common style sheet of all pages."""
    return style_sheet() + _text("page.css")


def inline_json(value: Any) -> str:
    """Return JSON for a script tag, with `<`, `>` and `&` escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data(panels: Sequence[Panel]) -> dict[str, Any]:
    """Return the script's data: charts by name, and image names and atlas of each plane panel."""
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


def content_policy(*scripts: str, compiles: bool) -> str:
    """Return a content security policy that runs only these scripts and fetches nothing.

    Args:
        scripts: content of each script tag.
        compiles: whether the scripts compile code at run time, as Vega does for expressions.
    """
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    sources += " 'unsafe-eval'" if compiles else ""
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {sources}; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
