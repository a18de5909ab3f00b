"""Fill the tables of the documentation from benchmarks/results.

    python benchmarks/tables.py        # or: make tables

In README.md and below docs/, this command writes the table of benchmarks/results/NAME.json, and a
line that says how it was measured, between a line `<!-- table: NAME -->` and a line
`<!-- /table -->`. A script that shows less than all of its rows' keys, or other titles, declares
the layout in `TABLES` by the name of the result; a name such as `pipeline-mnist` without an entry
takes that of `pipeline`.
"""

from __future__ import annotations

import functools
import re
import runpy
import string
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trainings
from results import FOLDER, ROOT, Row, Table, read_result, script_of

from vaebalance.base.errors import UserError
from vaebalance.base.files import write_text

FILLED = re.compile(r"^(<!-- table: (\S+) -->\n)(.*?)^(<!-- /table -->)$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"^<!-- (?:table: .*|/table) -->$", re.MULTILINE)


class Range(NamedTuple):
    """The least and the largest of some numbers; formats as "1.2 to 1.4", or "1.2" if equal."""

    least: float
    largest: float

    def __format__(self, spec: str) -> str:
        """Format both ends by `spec`."""
        return " to ".join(dict.fromkeys(format(end, spec) for end in self))


class CellFormatter(string.Formatter):
    """Format None as a dash, whatever the format."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format one value."""
        return "–" if value is None else str(super().format_field(value, format_spec))


def documents() -> list[Path]:
    """List the Markdown files that may have tables."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def filled(path: Path, folder: Path = FOLDER) -> str:
    """Return the text of the document at `path` with all tables as the results in `folder` say.

    Raises:
        UserError: a marker is not closed, or names no result.
    """
    text = path.read_text(encoding="utf-8")
    if len(MARK.findall(text)) != 2 * len(FILLED.findall(text)):
        raise UserError(
            f"{path.name}: a marker <!-- table: NAME --> or <!-- /table --> lacks the other one; "
            "put both on lines of their own."
        )

    def replacement(found: re.Match[str]) -> str:
        begin, name, _, end = found.groups()
        if not (folder / f"{name}.json").exists():
            raise UserError(
                f"{path.name}: table {name}: there is no benchmarks/results/{name}.json; run "
                f"python benchmarks/{script_of(name).name}, or take the marker out."
            )
        return f"{begin}\n{rendered(name, folder)}\n\n{end}"

    return FILLED.sub(replacement, text)


def rendered(name: str, folder: Path = FOLDER) -> str:
    """Return the table of a result, and below it how it was measured, as Markdown."""
    result = read_result(name, folder)
    return f"{trainings.table(cells(result['rows'], layout_of(name)))}\n\n{measured(result)}"


def cells(rows: Sequence[Row], layout: Table | None) -> list[Row]:
    """Return a row of cells by title; without a layout, of all that is no list."""
    if layout is None:
        plain = (str, int, float, type(None))
        return [{key: v for key, v in row.items() if isinstance(v, plain)} for row in rows]
    shown = list(grouped(rows, layout.by)) if layout.by else rows
    return [
        {title: CellFormatter().vformat(cell, (), row) for title, cell in layout.columns.items()}
        for row in shown
    ]


def grouped(rows: Sequence[Row], by: tuple[str, ...]) -> Iterator[Row]:
    """Merge rows that agree in the keys `by`: numbers into a `Range`, other values into a list."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    for names, group in groups.items():
        yield {key: merged([row[key] for row in group]) for key in group[0]} | dict(
            zip(by, names, strict=True)
        )


def merged(values: list[Any]) -> Any:
    """Merge the values of one key; numbers of which one is missing are missing."""
    numeric = (int, float, type(None))
    if all(isinstance(value, numeric) and not isinstance(value, bool) for value in values):
        return None if None in values else Range(min(values), max(values))
    return ", ".join(dict.fromkeys("–" if value is None else str(value) for value in values))


def layout_of(name: str) -> Table | None:
    """Return the layout that a result's script declares for it, or for a part's whole."""
    layouts = layouts_in(script_of(name))
    while name not in layouts and "-" in name:
        name = name.rpartition("-")[0]
    return layouts.get(name)


@functools.cache
def layouts_in(script: Path) -> dict[str, Table]:
    """Return what a script declares in `TABLES`."""
    layouts: dict[str, Table] = runpy.run_path(str(script), run_name="imported").get("TABLES", {})
    return layouts


def measured(result: dict[str, Any]) -> str:
    """Say on a line how a result was measured."""
    versions = result["versions"]
    where = [result["processor"], *([result["gpu"]] if result["gpu"] else [])]
    commit = result["commit"][:7] + (", with uncommitted changes" if result["dirty"] else "")
    threads = f"{result['threads']} thread{'' if result['threads'] == 1 else 's'}"
    return (
        f"*`{result['command']}` on {', '.join(where)}, {result['cores']} cores, with {threads}, "
        f"torch {versions['torch']}, {result['date']}, commit {commit}.*"
    )


def main() -> None:
    """Fill the tables of all documents."""
    try:
        texts = {path: filled(path) for path in documents()}
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for path, text in texts.items():
        if text != path.read_text(encoding="utf-8"):
            write_text(path, text)
            print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
