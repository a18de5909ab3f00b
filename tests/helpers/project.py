"""A clone of the project in a folder of its own, run by the real tools."""

from __future__ import annotations

import hashlib
import io
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

SOURCE = Path(__file__).resolve().parents[2]
CLONED = [
    "dvc.yaml",
    "curve/dvc.yaml",
    "params.yaml",
    ".gitignore",
    ".dvcignore",
    "data/raw/README.md",
]
QUICK = {
    "epochs: 100 ": "epochs: 3 ",
    "max_images: null ": "max_images: 300 ",
    "nll_samples: 256 ": "nll_samples: 8 ",
    "scatter_images: 2000 ": "scatter_images: 60 ",
    "hidden: [256, 128]": "hidden: [32]",
}
CLOCKS = {"timing.csv", "evaluation_timing.csv"}
STAGES = ["prepare", "train", "evaluate", "report"]


@dataclass(frozen=True)
class Project:
    """A clone with its own MLflow store, DVC cache and git history."""

    root: Path

    def environment(self) -> dict[str, str]:
        """Return the variables of an activated virtual environment, without the project's own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "MLFLOW_", "VAEBALANCE_", "PYTHON", "PYTEST"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        identity = {f"GIT_{who}_NAME": "tester" for who in ("AUTHOR", "COMMITTER")}
        identity |= {f"GIT_{who}_EMAIL": "tester@example.com" for who in ("AUTHOR", "COMMITTER")}
        return {**kept, **identity, "PATH": path, "OMP_NUM_THREADS": "1"}

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the clone and return its output."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Work in the clone within the block, with its environment and one thread."""
        threads = torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.root)
            wanted = self.environment()
            for name in set(os.environ) - set(wanted):
                patch.delenv(name)
            for name, value in wanted.items():
                patch.setenv(name, value)
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(threads)

    def here(self, script: str, *arguments: str) -> str:
        """Run a script of the clone in this process and return its output."""
        with (
            self.entered(),
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.StringIO()) as shown,
        ):
            patch.setattr(sys, "argv", [script, *arguments])
            runpy.run_path(script, run_name="__main__")
        return shown.getvalue()

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command as the leader of a process group."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def repro(self, *arguments: str) -> list[str]:
        """Run `dvc repro`; return the stages that ran, neither skipped nor from the cache."""
        return stages_run(self.run("dvc", "repro", *arguments))

    def set(self, old: str, new: str) -> None:
        """Edit params.yaml."""
        path = self.root / "params.yaml"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new), encoding="utf-8")

    def digests(self, *folders: str) -> dict[str, str]:
        """Return the SHA-256 of each file below the folders, except clocks."""
        found = {}
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file() and path.name not in {*CLOCKS, ".gitignore"}:
                    name = path.relative_to(self.root).as_posix()
                    found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def tracked(self, query: str) -> list[tuple[object, ...]]:
        """Query the MLflow database."""
        connection = sqlite3.connect(self.root / "mlflow.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def count(self, table: str) -> int:
        """Count the rows of a table of the MLflow database."""
        ((rows,),) = self.tracked(f"SELECT COUNT(*) FROM {table}")
        assert isinstance(rows, int)
        return rows


def stages_run(output: str) -> list[str]:
    """Return the stages that DVC reports as run."""
    return re.findall(r"Running stage '(\w+)'", output)


def clone(root: Path) -> Project:
    """Clone the working tree to `root` with quick settings, in one commit."""
    for name in CLONED:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / name, target)
    for folder in ("src", "pipelines"):
        shutil.copytree(
            SOURCE / folder,
            root / folder,
            ignore=shutil.ignore_patterns("*.egg-info"),  # with what is compiled: a second a clone
        )
    (root / ".dvc").mkdir()
    for name in (".gitignore", "config"):
        shutil.copy(SOURCE / ".dvc" / name, root / ".dvc" / name)
    project = Project(root)
    for old, new in QUICK.items():
        project.set(old, new)
    project.run("git", "init", "--quiet")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "Clone")
    return project
