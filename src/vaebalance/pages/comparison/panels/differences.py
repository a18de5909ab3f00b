"""Tables of the runs: names, verdicts, every number, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vaebalance.pages.comparison.compared_runs import ComparedRun, best_runs, settings
from vaebalance.pages.kit.blocks import Block, Panel, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted
from vaebalance.pages.report.panels.measures import section_title, value_of

BEST = "★"
ABSENT = "–"
DIGITS = 3  # significant digits of a number


def run_list(runs: Sequence[ComparedRun]) -> Panel:
    """List the runs with their main settings."""
    header = ("run", "name in MLflow", "likelihood", "balance", "latents", "data")
    rows = tuple(_run_row(run) for run in runs)
    return Panel(
        "runs",
        "The runs",
        "The runs",
        "In the order in which you named them.",
        (Table("The runs", header, rows, numeric=(4,)),),
        {"runs.csv": as_csv(header, rows)},
    )


def _run_row(run: ComparedRun) -> tuple[str, ...]:
    evaluated = run.evaluated
    params, dataset = evaluated.provenance.params, evaluated.provenance.dataset
    return (
        run.title,
        run.name,
        evaluated.model.likelihood.model_dump()["kind"],
        str(params.get("balance", {}).get("kind", "")),
        str(evaluated.model.latent_size),
        f"{dataset.get('name')} {run.digest[:8]}",
    )


def verdicts(runs: Sequence[ComparedRun]) -> Panel:
    """Show the verdicts on each training."""
    anchor, header = (
        ("verdicts", "Verdicts", "Verdicts"),
        ("run", "verdict", "evidence", "try next"),
    )
    if all(run.evaluated.verdicts is None for run in runs):
        return Panel(*anchor, "None of these trainings has a verdict.", ())
    rows: list[tuple[str, ...]] = []
    for run in runs:
        given = run.evaluated.verdicts
        if not given:
            word = "none given" if given is None else "healthy"
            rows.append((run.title, word, "", ""))
        rows += [(run.title, v.name, v.evidence, v.remedy) for v in given or ()]
    return Panel(
        *anchor,
        "Problems that the training curves of each run show, and what to try next.",
        (Table("Verdicts", header, tuple(rows)),),
        {"verdicts.csv": as_csv(header, rows)},
    )


def measures(runs: Sequence[ComparedRun]) -> Panel:
    """Show every number of every run, with the best marked."""
    known = {key: row for run in runs for key, row in run.rows.items() if row.value is not None}
    header = ("measure", *(run.title for run in runs), "unit")
    blocks: list[Block] = []
    for title, group in groupby(known, lambda key: section_title(known[key])):
        lines = [_line(key, runs, known[key].measure.unit) for key in group]
        numeric = tuple(range(1, len(runs) + 1))
        blocks.append(Table(title, header, tuple(lines), numeric, is_titled=True))
    values = [
        (key, *(run.rows[key].value if key in run.rows else None for run in runs), row.measure.unit)
        for key, row in known.items()
    ]
    return Panel(
        "measures",
        "All measurements",
        "All measurements",
        f"Measured on test images; ± is a standard error. {BEST} marks the best value of a row if "
        "higher or lower is better and the values are comparable: the same images and, for nats, "
        "the same likelihood. Values within the standard errors of it may be as good.",
        tuple(blocks),
        {"measurements.csv": as_csv(("key", *header[1:]), values)},
    )


def _line(key: str, runs: Sequence[ComparedRun], unit: str) -> tuple[str, ...]:
    rows, winners = [run.rows.get(key) for run in runs], best_runs(key, runs)
    name = next(row.measure.name for row in rows if row)
    cells = [
        (f"{BEST} " if run.letter in winners else "") + (value_of(row, DIGITS) if row else ABSENT)
        for run, row in zip(runs, rows, strict=True)
    ]
    return name, *cells, unit


def differences(runs: Sequence[ComparedRun]) -> Panel:
    """Show the settings that differ."""
    all_settings = [settings(run) for run in runs]
    keys = list(dict.fromkeys(key for values in all_settings for key in values))
    rows = tuple(
        (key, *(values.get(key, ABSENT) for values in all_settings))
        for key in keys
        if len({values.get(key) for values in all_settings}) > 1
    )
    header = ("setting", *(run.title for run in runs))
    reading = f"{counted(len(keys) - len(rows), 'other setting')} are the same."
    anchor = ("differences", "Settings", "Settings that differ")
    if not rows:
        return Panel(*anchor, "None.", ())
    table = Table("Settings that differ", header, rows)
    return Panel(*anchor, reading, (table,), {"settings.csv": as_csv(header, rows)})
