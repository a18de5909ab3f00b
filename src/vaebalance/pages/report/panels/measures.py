"""Every number of the evaluation, by section, with an explanation.

Names, units and explanations come from the evaluation, so a new number appears here by itself.
"""

from __future__ import annotations

from itertools import groupby

from vaebalance.evaluation.metrics import Row, rows
from vaebalance.pages.kit.blocks import Block, Panel, Prose, Reading, Readings
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import number
from vaebalance.pages.report.inputs import Inputs

SECTIONS = {
    "test": "Bounds and reconstructions",
    "latents": "Latent space",
    "samples": "Samples from the prior",
    "disentanglement": "Disentanglement",
}
NOT_APPLICABLE = "n/a"
CSV = ("key", "name", "feature space", "value", "standard error", "reference", "reference is")


def measures(inputs: Inputs) -> Panel:
    """Show one table per section."""
    all_rows = rows(inputs.evaluation)
    known = [row for row in all_rows if row.value is not None]
    groups = tuple(
        (title, tuple(_reading(row) for row in group))
        for title, group in groupby(known, section_title)
    )
    blocks: list[Block] = [Readings(groups)]
    without = [row.measure.name for row in all_rows if row.value is None]
    if without:
        blocks.append(Prose(f"Not applicable to this run: {', '.join(without)}."))
    return Panel(
        "measures",
        "All measurements",
        "All measurements",
        "Measured on test images; ± is a standard error over images. Nats are per image, at "
        "α = β = 1.",
        tuple(blocks),
        {"measurements.csv": as_csv((*CSV, "unit", "better"), [_in_full(row) for row in all_rows])},
    )


def section_title(row: Row) -> str:
    """Name the row's section, with the feature space if there is one."""
    title = SECTIONS.get(row.section, row.section.replace("_", " ").capitalize())
    return f"{title}: {row.space}" if row.space else title


def value_of(row: Row, digits: int = 4) -> str:
    """Format the value and, to half as many digits, its standard error."""
    if row.value is None:
        return NOT_APPLICABLE
    text = f"{row.value:,}" if isinstance(row.value, int) else number(row.value, digits)
    return (
        text
        if row.standard_error is None
        else f"{text} ± {number(row.standard_error, digits // 2)}"
    )


def _reading(row: Row) -> Reading:
    beside = "" if row.reference is None else f"{row.reference_name}: {number(row.reference, 3)}"
    measure = row.measure
    return Reading(measure.name, value_of(row), measure.unit, beside, measure.reading)


def _in_full(row: Row) -> tuple[str | float | None, ...]:
    numbers = (row.value, row.standard_error, row.reference, row.reference_name)
    measure = row.measure
    return row.key, measure.name, row.space, *numbers, measure.unit, measure.better
