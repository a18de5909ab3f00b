"""`dvc repro` from nothing in a fresh clone: where its time goes, and what it costs to find none.

    python benchmarks/pipeline.py [--data digits|mnist] [--epochs N] [--runs 3] [--out FOLDER]

Clones what is committed here, sets the data and its usual net (`mnist`: all 70,000 images,
784-400-20, 10 epochs; its folder as in `$VAEBALANCE_MNIST`), and prints wall seconds: of each
stage's command, of the training steps within `train`, of DVC around the commands; then of a `dvc
repro` with nothing to do beside other commands of DVC, and of each script that refuses a wrong
parameter. The clone has its own MLflow store, DVC cache and cache of compiled steps, all empty.

A stage is timed where DVC starts it: its `python` is a script that notes when the real one began
and ended. (It needs `sh` and GNU's `date`.)
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import start_up
import torch
import trainings
from results import parse_options, write_result
from ruamel.yaml import YAML

from vaebalance.settings import parse, read_yaml

TIMED_PYTHON = """\
#!/bin/sh
began=$(date +%s.%N)
{python} "$@"
status=$?
echo "$1 $began $(date +%s.%N)" >> {log}
exit $status
"""
FOREIGN = ("DVC_", "MLFLOW_", "PYTHON", "VAEBALANCE_")
"""Beginnings of the variables that would change what the clone does."""
IDLE = (["repro"], ["status", "dvc.yaml"], ["--version"])
"""Of DVC, where nothing has changed."""


@dataclass(frozen=True)
class Clone:
    """The project below a temporary folder, and the times of its commands."""

    folder: Path

    @property
    def root(self) -> Path:
        """Of the project."""
        return self.folder / "vaebalance"

    @property
    def log(self) -> Path:
        """A line for each `python` that was run: first argument, when it began, when it ended."""
        return self.folder / "commands.log"

    def environment(self) -> dict[str, str]:
        """As in an activated virtual environment, but for the `python` that is timed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        folders = (self.folder / "bin", Path(sys.executable).parent)
        path = os.pathsep.join([*map(str, folders), kept["PATH"]])
        cache = str(self.folder / "compiled")
        return kept | {"PATH": path, "TORCHINDUCTOR_CACHE_DIR": cache}

    def seconds_of_dvc(self, *arguments: str) -> float:
        """Wall seconds of a command; what it says goes to stderr."""
        began = trainings.clock()
        subprocess.run(
            ["dvc", *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=sys.stderr,
            check=True,
        )
        return trainings.clock() - began

    def seconds_of_stages(self) -> dict[str, float]:
        """Wall seconds of each stage's command that was run, by the stage's name."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = {}
        for script, began, ended in (line.rsplit(" ", 2) for line in lines):
            if Path(script).parent.name == "pipelines":
                found[Path(script).stem] = float(ended) - float(began)
        return found

    def seconds_of_steps(self) -> list[float]:
        """Of the training steps of each epoch."""
        with (self.root / "artifacts/timing.csv").open(encoding="utf-8") as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)]


def make_clone(folder: Path, data: str, epochs: int | None) -> Clone:
    """Copy the committed project, with params.yaml for these data."""
    clone = Clone(folder)
    subprocess.run(["git", "clone", "--quiet", trainings.ROOT, clone.root], check=True)
    raw = read_yaml(clone.root / "params.yaml")
    raw["data"]["source"] = {"kind": data}
    if data == "mnist":
        raw["data"] |= {"root": str(trainings.MNIST.resolve()), "max_images": None}
    for section, knobs in trainings.SCALES[data].items():
        raw[section] |= knobs
    if epochs is not None:
        raw["train"]["epochs"] = epochs
    parse(raw)  # refuses before anything runs
    YAML(typ="safe", pure=True).dump(raw, clone.root / "params.yaml")
    python = folder / "bin" / "python"
    python.parent.mkdir()
    quoted = {"python": shlex.quote(sys.executable), "log": shlex.quote(str(clone.log))}
    python.write_text(TIMED_PYTHON.format(**quoted), encoding="utf-8")
    python.chmod(0o755)
    return clone


def from_nothing(clone: Clone) -> tuple[list[dict[str, Any]], int]:
    """Rows of the first `dvc repro`, with shares of the whole; and the epochs that it trained."""
    whole = clone.seconds_of_dvc("repro")
    stages, steps = clone.seconds_of_stages(), clone.seconds_of_steps()
    parts = dict(stages)
    parts["DVC: its start, hashes, cache"] = whole - sum(stages.values())
    parts["whole"] = whole
    parts["training steps, within train"] = sum(steps)
    rows = [
        {"part": part, "seconds": seconds, "share": seconds / whole}
        for part, seconds in parts.items()
    ]
    return rows, len(steps)


def with_nothing_to_do(clone: Clone, runs: int) -> list[dict[str, Any]]:
    """Rows of DVC's commands in a clone that is up to date.

    Raises:
        RuntimeError: a stage was run again.
    """
    before = clone.log.read_text(encoding="utf-8")
    rounds = [[clone.seconds_of_dvc(*command) for command in IDLE] for _ in range(runs)]
    if clone.log.read_text(encoding="utf-8") != before:
        raise RuntimeError("a stage was run although nothing had changed")
    return [
        {"command": " ".join(["dvc", *command]), "seconds": statistics.median(seconds)}
        for command, seconds in zip(IDLE, zip(*rounds, strict=True), strict=True)
    ]


def main() -> None:
    """Print three tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=sorted(trainings.SCALES), default="digits")
    parser.add_argument("--epochs", type=int, help="other than the data's usual number")
    parser.add_argument("--runs", type=int, default=3, help="of what is repeated (3)")
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(prefix="vaebalance-") as folder:
        clone = make_clone(Path(folder), options.data, options.epochs)
        rows, epochs = from_nothing(clone)
        found = {
            "from nothing": rows,
            "nothing to do": with_nothing_to_do(clone, options.runs),
            "wrong parameter": start_up.refusals(clone.root, options.runs),
        }
    print(f"{options.data}, {epochs} epochs, {torch.get_num_threads()} threads")
    for name, part in found.items():
        print(f"\n{name}:\n{trainings.table(part)}")
    every = [
        {"when": name, "what": next(iter(row.values())), "seconds": row["seconds"]}
        for name, part in found.items()
        for row in part
    ]
    write_result(f"pipeline-{options.data}", every, options.out, epochs=epochs)


if __name__ == "__main__":
    main()
