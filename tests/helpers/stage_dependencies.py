"""The code that each stage imports; `python -m tests.helpers.stage_dependencies` writes it.

A stage of dvc.yaml depends on rooms (folders of src/vaebalance), not on files.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "vaebalance"
FILES = {
    "prepare": "dvc.yaml",
    "train": "dvc.yaml",
    "evaluate": "dvc.yaml",
    "report": "dvc.yaml",
    "curve": "curve/dvc.yaml",
    "slider": "curve/dvc.yaml",
}
"""Stage -> the file that declares it."""

NO_DEPENDENCY = ("cli", "settings", "tracking", "terminal")
"""Rooms and modules that only read arguments, check values that DVC tracks, or report what happens.
Edits there change no number and must not make a stage stale."""
PRINTED_ONLY = {"train": ("evaluation.diagnosis",), "curve": ("evaluation.diagnosis",)}
"""Modules whose result a stage prints but does not write: `evaluate` writes the verdicts."""


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, as `vaebalance.a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("vaebalance.")}


def files_of(module: str) -> list[Path]:
    """Return the files that importing `module` runs, except the package's own face."""
    parts = module.split(".")[1:]
    folders = [SOURCE.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    found = [folder / "__init__.py" for folder in folders]
    return [file for file in (*found, folders[-1].with_suffix(".py")) if file.is_file()]


def needed_files(stage: str) -> set[Path]:
    """Return the files of the package that a stage's script imports, directly or not."""
    ignored = (*NO_DEPENDENCY, *PRINTED_ONLY.get(stage, ()))
    found: set[Path] = set()
    waiting = [ROOT / "pipelines" / f"{stage}.py"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for module in imported(path):
            name = module.removeprefix("vaebalance.")
            if not any(f"{name}.".startswith(f"{other}.") for other in ignored):
                waiting += files_of(module)
    return {path for path in found if SOURCE in path.parents}


def room_of(path: Path) -> str:
    """Return the room of a file of the package."""
    return path.relative_to(SOURCE).parts[0]


def rooms(stage: str) -> list[str]:
    """Return the rooms that a stage needs."""
    return sorted({room_of(path) for path in needed_files(stage)})


def write_dependencies() -> None:
    """Write each stage's rooms into its `deps`, leaving the rest of the files unchanged."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 100
    for file in sorted(set(FILES.values())):
        content = yaml.load((ROOT / file).read_text(encoding="utf-8"))
        for stage in (name for name, where in FILES.items() if where == file):
            deps = content["stages"][stage]["deps"]
            data = [dep for dep in deps if not dep.startswith("src/vaebalance/")]
            deps[:] = data + [f"src/vaebalance/{room}" for room in rooms(stage)]
        with (ROOT / file).open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)


if __name__ == "__main__":
    write_dependencies()
