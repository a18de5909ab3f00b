"""Who is who, what each verdict and number is, and what was set differently."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vaebalance.pages.comparison.compared_runs import Contender, best, settings
from vaebalance.pages.kit.blocks import Block, Panel, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted
from vaebalance.pages.report.panels.measures import section_title, value_of

BEST = "★"
ABSENT = "–"
DIGITS = 3  # of a number, beside as many as there are runs


def runs(contenders: Sequence[Contender]) -> Panel:
    """Who is who."""
    header = ("run", "name in MLflow", "likelihood", "balance", "latents", "data")
    rows = tuple(_who(contender) for contender in contenders)
    return Panel(
        "runs",
        "The runs",
        "The runs",
        "In the order in which they were named.",
        (Table("The runs", header, rows, numeric=(4,)),),
        {"runs.csv": as_csv(header, rows)},
    )


def _who(contender: Contender) -> tuple[str, ...]:
    evaluated = contender.evaluated
    params, dataset = evaluated.provenance.params, evaluated.provenance.dataset
    return (
        contender.title,
        contender.name,
        evaluated.model.likelihood.model_dump()["kind"],
        str(params.get("balance", {}).get("kind", "")),
        str(evaluated.model.latent_size),
        f"{dataset.get('name')} {contender.digest[:8]}",
    )


def verdicts(contenders: Sequence[Contender]) -> Panel:
    """What each training's own curves say."""
    anchor, header = (
        ("verdicts", "Verdicts", "Verdicts"),
        ("run", "verdict", "evidence", "try next"),
    )
    if all(contender.evaluated.verdicts is None for contender in contenders):
        return Panel(*anchor, "None of these trainings was given a verdict.", ())
    rows: list[tuple[str, ...]] = []
    for contender in contenders:
        found = contender.evaluated.verdicts
        if not found:
            word = "none given" if found is None else "healthy"
            rows.append((contender.title, word, "", ""))
        rows += [(contender.title, v.name, v.evidence, v.remedy) for v in found or ()]
    return Panel(
        *anchor,
        "What is wrong with each training by its own curves, and what to try next.",
        (Table("Verdicts", header, tuple(rows)),),
        {"verdicts.csv": as_csv(header, rows)},
    )


def measures(contenders: Sequence[Contender]) -> Panel:
    """Every number of every run, the best marked."""
    known = {key: row for c in contenders for key, row in c.rows.items() if row.value is not None}
    header = ("measure", *(c.title for c in contenders), "unit")
    blocks: list[Block] = []
    for title, group in groupby(known, lambda key: section_title(known[key])):
        lines = [_line(key, contenders, known[key].measure.unit) for key in group]
        numeric = tuple(range(1, len(contenders) + 1))
        blocks.append(Table(title, header, tuple(lines), numeric, is_titled=True))
    values = [
        (key, *(c.rows[key].value if key in c.rows else None for c in contenders), row.measure.unit)
        for key, row in known.items()
    ]
    return Panel(
        "measures",
        "All measurements",
        "All measurements",
        f"Of the test images; ± is a standard error. {BEST} is the best of a line, where one end "
        "is better and the numbers mean the same: of the same images, and nats of the same "
        "likelihood. What lies within the standard errors of it may be as good.",
        tuple(blocks),
        {"measurements.csv": as_csv(("key", *header[1:]), values)},
    )


def _line(key: str, contenders: Sequence[Contender], unit: str) -> tuple[str, ...]:
    found, winners = [c.rows.get(key) for c in contenders], best(key, contenders)
    name = next(row.measure.name for row in found if row)
    cells = [
        (f"{BEST} " if c.letter in winners else "") + (value_of(row, DIGITS) if row else ABSENT)
        for c, row in zip(contenders, found, strict=True)
    ]
    return name, *cells, unit


def differences(contenders: Sequence[Contender]) -> Panel:
    """The settings that are not the same."""
    each = [settings(contender) for contender in contenders]
    keys = list(dict.fromkeys(key for values in each for key in values))
    rows = tuple(
        (key, *(values.get(key, ABSENT) for values in each))
        for key in keys
        if len({values.get(key) for values in each}) > 1
    )
    header = ("setting", *(contender.title for contender in contenders))
    reading = f"{counted(len(keys) - len(rows), 'other setting')} are the same."
    anchor = ("differences", "Settings", "Settings that differ")
    if not rows:
        return Panel(*anchor, "None.", ())
    table = Table("Settings that differ", header, rows)
    return Panel(*anchor, reading, (table,), {"settings.csv": as_csv(header, rows)})
