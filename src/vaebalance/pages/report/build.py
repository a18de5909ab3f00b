"""Build the report's folder from its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vaebalance.base.files import replacing
from vaebalance.pages.kit.blocks import Panel
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.page import render
from vaebalance.pages.report.inputs import Inputs, read_inputs
from vaebalance.pages.report.panels import panels, plane
from vaebalance.pages.report.summary import Summary, summarise
from vaebalance.settings import PARAMS, ReportSettings, ReportSpec, load

PAGE = "index.html"


LARGEST = 8_000_000
"""Bytes of the page, at most."""

PanelFor = Callable[[int], Panel]
"""Makes a panel that takes at most the given number of bytes."""


def build(
    inputs: Inputs, spec: ReportSpec, seed: int, folder: Path, trade_off: PanelFor | None = None
) -> Path:
    """Write the page and its figures into `folder`, all or nothing.

    The same inputs give the same bytes.

    Args:
        inputs: data of the run.
        spec: how much to show.
        seed: seed of the run.
        folder: folder to write; replaced if it exists.
        trade_off: makes the slider's panel, which follows the rate–distortion plane.

    Returns:
        Path of the page.
    """
    summary, sections = summarise(inputs), panels(inputs, spec, seed)
    if trade_off is not None:
        free_bytes = LARGEST - len(render(summary, sections).encode())
        place = [panel.anchor for panel in sections].index(plane.ANCHOR) + 1
        sections.insert(place, trade_off(free_bytes))
    return write_page(summary, sections, folder)


def report(root: Path | str = ".", folder: Path | str | None = None) -> Path:
    """Write the report on a project's trained and evaluated model, beside no other run.

    Args:
        root: the project's folder, with params.yaml, data/prepared, artifacts and metrics.
        folder: it is replaced; by default `artifacts/report` below `root`.

    Returns:
        The page's path.

    Raises:
        UserError: a setting is wrong, or an output of a stage is missing or damaged.
    """
    root = Path(root)
    folder = root / "artifacts" / "report" if folder is None else Path(folder)
    settings = load(ReportSettings, root / PARAMS)
    return build(read_inputs(root), settings.report, settings.seed, folder)


def write_page(summary: Summary, panels: Sequence[Panel], folder: Path) -> Path:
    """Write the page and its panels' files into `folder`, all or nothing; returns its path."""
    page = render(summary, panels)
    files = {name: content for panel in panels for name, content in panel.files.items()}
    if summary.settings is not None:
        files["settings.csv"] = as_csv(summary.settings.header, summary.settings.rows)
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / PAGE).write_text(page, encoding="utf-8", newline="\n")
        for name, content in files.items():
            (temporary / name).write_bytes(content)
    return folder / PAGE
