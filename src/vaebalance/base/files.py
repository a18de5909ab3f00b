"""Atomic writes: a killed process never leaves a partial file."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The block may write a file or create a folder. After an exception the temporary is removed, and
    `path` is unchanged. The next call for the same `path` removes what a killed
    process left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_away(path)
    scratch = Path(
        tempfile.mkdtemp(prefix=f"{_scratch_prefix(path)}{os.getpid()}.", dir=path.parent)
    )
    temporary = scratch / path.name
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            path.rename(scratch / PREVIOUS)
        temporary.replace(path)
    finally:
        _discard(scratch, path)


PREVIOUS = "previous"
"""Name of the old folder between the two renames."""


def _scratch_prefix(path: Path) -> str:
    """Return the prefix of scratch folders; it has the host name, for disks shared by machines."""
    return f".{path.name}.{platform.node()}."


def _clear_away(path: Path) -> None:
    """Remove the scratch folders for `path` whose process has ended."""
    prefix = _scratch_prefix(path)
    for scratch in list(path.parent.iterdir()):
        process = scratch.name.removeprefix(prefix).split(".")[0]
        if scratch.name.startswith(prefix) and process.isdecimal() and not _is_alive(int(process)):
            _discard(scratch, path)


def _discard(scratch: Path, path: Path) -> None:
    """Remove a scratch folder; restore the old folder if nothing replaced it."""
    if not path.exists():
        with contextlib.suppress(FileNotFoundError):  # usually, there is no old folder
            (scratch / PREVIOUS).rename(path)
    shutil.rmtree(scratch, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # no safe way to ask; rather keep leftovers than remove files in use
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically; NaN raises ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(
    path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], line_end: str = "\r\n"
) -> None:
    """Write a table to `path`, atomically: see `csv_bytes`."""
    with replacing(path) as temporary:
        temporary.write_bytes(csv_bytes(header, rows, line_end))


def csv_bytes(header: Iterable[str], rows: Iterable[Iterable[Any]], line_end: str) -> bytes:
    """Return a table as UTF-8 CSV with unrounded numbers; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=line_end)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()
