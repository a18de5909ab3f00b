"""Every number of the evaluation, by what it is about, with how to read it.

Names, units and readings are the evaluation's own: a number that it adds appears here by itself.
"""

from __future__ import annotations

from itertools import groupby

from vaebalance.evaluation.vocabulary import Row, rows
from vaebalance.report.blocks import Block, Panel, Reading, Readings
from vaebalance.report.inputs import Inputs
from vaebalance.report.tables import as_csv
from vaebalance.report.words import number

SECTIONS = {
    "test": "Bounds and reconstructions",
    "latents": "Latent space",
    "samples": "Samples from the prior",
    "disentanglement": "Disentanglement",
}
NOT_APPLICABLE = "n/a"
CSV = ("key", "name", "feature space", "value", "standard error", "reference", "reference is")


def measures(inputs: Inputs) -> Panel:
    """One table a section."""
    found = rows(inputs.evaluation)
    blocks: list[Block] = [
        Readings(title, tuple(_reading(row) for row in group))
        for title, group in groupby(found, section_title)
    ]
    return Panel(
        "measures",
        "All measurements",
        "All measurements",
        "Of the test images; ± is a standard error over images. Nats are per image, at α = β = 1.",
        tuple(blocks),
        {"measurements.csv": as_csv((*CSV, "unit", "better"), [_in_full(row) for row in found])},
    )


def section_title(row: Row) -> str:
    """What its section is called, with the feature space where there is one."""
    title = SECTIONS.get(row.section, row.section.replace("_", " ").capitalize())
    return f"{title}: {row.space}" if row.space else title


def value_of(row: Row) -> str:
    """The value with its standard error."""
    if row.value is None:
        return NOT_APPLICABLE
    text = f"{row.value:,}" if isinstance(row.value, int) else number(row.value)
    return text if row.standard_error is None else f"{text} ± {number(row.standard_error, 2)}"


def _reading(row: Row) -> Reading:
    beside = "" if row.reference is None else f"{row.reference_name}: {number(row.reference, 3)}"
    unit = "" if row.value is None else row.measure.unit
    return Reading(row.measure.name, value_of(row), unit, beside, row.measure.reading)


def _in_full(row: Row) -> tuple[str | float | None, ...]:
    numbers = (row.value, row.standard_error, row.reference, row.reference_name)
    measure = row.measure
    return row.key, measure.name, row.space, *numbers, measure.unit, measure.better
