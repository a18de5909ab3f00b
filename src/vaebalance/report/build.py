"""Inputs -> the report's folder."""

from __future__ import annotations

from pathlib import Path

from vaebalance.files import replacing
from vaebalance.report.inputs import Inputs
from vaebalance.report.page import render
from vaebalance.report.panels import panels
from vaebalance.report.summary import summarise
from vaebalance.report.tables import as_csv
from vaebalance.settings import ReportSpec

PAGE = "index.html"


def build(inputs: Inputs, spec: ReportSpec, seed: int, folder: Path) -> Path:
    """Write the page and its figures into `folder`, all or nothing; returns the page's path.

    The same inputs give the same bytes.
    """
    found, summary = panels(inputs, spec, seed), summarise(inputs)
    page = render(summary, found)
    files = {"settings.csv": as_csv(summary.settings.header, summary.settings.rows)}
    for panel in found:
        files |= panel.files
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / PAGE).write_text(page, encoding="utf-8", newline="\n")
        for name, content in files.items():
            (temporary / name).write_bytes(content)
    return folder / PAGE
