"""Inputs -> the report's folder."""

from __future__ import annotations

from pathlib import Path

from vaebalance.files import replacing
from vaebalance.report.inputs import Inputs
from vaebalance.report.page import render
from vaebalance.report.panels import panels
from vaebalance.report.summary import summarise
from vaebalance.settings import ReportSpec

PAGE = "index.html"


def build(inputs: Inputs, spec: ReportSpec, seed: int, folder: Path) -> Path:
    """Write the page and its figures into `folder`, all or nothing; returns the page's path.

    The same inputs give the same bytes.
    """
    found = panels(inputs, spec, seed)
    page = render(summarise(inputs), found)
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / PAGE).write_text(page, encoding="utf-8", newline="\n")
        for panel in found:
            for name, content in panel.files.items():
                (temporary / name).write_bytes(content)
    return folder / PAGE
