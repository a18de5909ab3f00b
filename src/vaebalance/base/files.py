"""Writing files so that a killed process never leaves half of one."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The block may write a file or make a folder. After an exception the temporary is removed and
    whatever stood at `path` before is untouched. What a killed process left behind is cleared away
    when the next one starts on the same `path`.
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
"""Where the old folder is for the moment between the two renames."""


def _scratch_prefix(path: Path) -> str:
    """Names the machine too: on a shared disk another's process number says nothing."""
    return f".{path.name}.{platform.node()}."


def _clear_away(path: Path) -> None:
    """Remove the scratch folders for `path` whose process is no more."""
    prefix = _scratch_prefix(path)
    for scratch in list(path.parent.iterdir()):
        process = scratch.name.removeprefix(prefix).split(".")[0]
        if scratch.name.startswith(prefix) and process.isdecimal() and not _is_alive(int(process)):
            _discard(scratch, path)


def _discard(scratch: Path, path: Path) -> None:
    """Remove a scratch folder; the old folder goes back if nothing has taken its place."""
    if not path.exists():
        with contextlib.suppress(FileNotFoundError):  # mostly, there is no old folder
            (scratch / PREVIOUS).rename(path)
    shutil.rmtree(scratch, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # there is no harmless way to ask; better a leftover than another's files
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as readable JSON, all or nothing; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
