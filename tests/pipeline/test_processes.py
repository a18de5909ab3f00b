"""The stages' scripts as processes that share a state, are terminated, or have no stdout.

The tests share a clone and build on each other, in this order.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.project import Project

TRAIN, EVALUATE = "pipelines/train.py", "pipelines/evaluate.py"
QUICK, SHORT, LONG = "epochs: 3 ", "epochs: 60 ", "epochs: 50000 "
STATUS = "SELECT status FROM runs ORDER BY start_time DESC LIMIT 1"
POINTS = "SELECT run_uuid, key, step FROM metrics WHERE key LIKE '%/distortion'"
LAST = "artifacts/last.pt"


def start(project: Project, script: str, **environment: str) -> subprocess.Popen[str]:
    """Start a script of the clone."""
    return subprocess.Popen(
        [sys.executable, script],
        cwd=project.root,
        env={**project.environment(), "PYTHONPATH": "src", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the process; return its exit status and stderr."""
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def in_shell(project: Project, line: str, **environment: str) -> tuple[int, str]:
    """Run a shell line with $RUN SCRIPT; return its exit status and output."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=project.root,
        env={
            **project.environment(),
            "PYTHONPATH": "src",
            "RUN": sys.executable,
            **environment,
        },
        capture_output=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def checkpoints(project: Project) -> list[Path]:
    """List the checkpoints of trainings that are not over."""
    return list((project.root / "checkpoints").glob("*.pt"))


def trains(project: Project, script: str = TRAIN, **environment: str) -> subprocess.Popen[str]:
    """Start a training of the clone and wait for its first checkpoint."""
    for left in checkpoints(project):
        left.unlink()
    process = start(project, script, **environment)
    while not checkpoints(project):
        assert process.poll() is None, outcome(process)
        time.sleep(0.02)
    return process


def test_data_are_prepared_though_nobody_reads_what_is_said(project: Project):
    status, said = in_shell(project, "$RUN pipelines/prepare.py | true")
    assert (status, "Traceback" in said) == (0, False)
    assert (project.root / "data/prepared/manifest.parquet").exists()


@pytest.mark.parametrize(
    ("line", "environment"),
    [
        (f"$RUN {TRAIN} | true", {}),
        (f"$RUN {TRAIN} > /dev/full", {"PYTHONIOENCODING": "iso-8859-1"}),
        (f"$RUN {EVALUATE}", {"PYTHONIOENCODING": "iso-8859-1"}),
    ],
)
def test_a_stage_succeeds_whatever_becomes_of_what_it_prints(project, line, environment):
    status, said = in_shell(project, line, **environment)
    assert status == 0, said
    assert "Traceback" not in said
    assert checkpoints(project) == []
    assert (project.root / LAST).exists()
    assert project.tracked(STATUS) == [("FINISHED",)]


def test_a_second_process_is_refused_also_in_a_copy_and_sigterm_ends_the_first(
    project: Project, tmp_path: Path
):
    project.set(QUICK, LONG)
    project.set("compile: auto ", "compile: off ")
    project.set("patience: 15 ", "patience: null ")
    first = trains(project)
    copy = Project(tmp_path / "copy")
    shutil.copytree(project.root, copy.root, ignore=shutil.ignore_patterns("mlflow.db*", ".git"))
    others = [start(project, TRAIN), start(copy, TRAIN, DVC_ROOT=str(project.root))]
    for other in others:
        status, errors = outcome(other)
        assert status == 2
        (line,) = errors.splitlines()
        assert line.startswith(f"error: stage train: another process (pid {first.pid} on ")
    assert first.poll() is None
    assert project.tracked(STATUS) == [("RUNNING",)]
    first.send_signal(signal.SIGTERM)
    status, errors = outcome(first)
    assert status == 143
    assert errors.splitlines()[-1] == "ended by SIGTERM"
    assert "Traceback" not in errors
    assert project.tracked(STATUS) == [("KILLED",)]
    assert len(checkpoints(project)) == 1


def test_the_claim_of_a_killed_process_is_taken_over_and_all_ends_as_never_killed(
    project: Project, tmp_path: Path
):
    project.set(LONG, SHORT)
    whole = Project(tmp_path / "whole")
    shutil.copytree(project.root, whole.root, ignore=shutil.ignore_patterns("mlflow.db*", ".git"))
    for left in checkpoints(whole):
        left.unlink()
    undisturbed = start(whole, TRAIN)
    killed = trains(project)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert outcome(start(project, TRAIN))[0] == 0
    assert outcome(undisturbed)[0] == 0
    assert (project.root / LAST).read_bytes() == (whole.root / LAST).read_bytes()
    points = project.tracked(POINTS)
    assert len(points) == len(set(points)) > 60
    assert project.tracked(STATUS) == [("FINISHED",)]
    assert list(project.root.glob("mlflow.db.*.lock")) == []
