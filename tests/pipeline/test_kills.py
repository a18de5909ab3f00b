"""kill -9 in the middle of each stage, then again: the same result as never killed."""

import os
import signal
import time
from pathlib import Path

from project import STAGES, Project, clone, stages_run

MOMENTS = dict(zip(STAGES, (0.3, 2.5, 4.0, 3.0), strict=True))
"""Seconds into each stage: at its start, or after its imports, which take the most of it."""


RUNS = "SELECT COUNT(*) FROM runs WHERE lifecycle_stage = 'active'"
POINTS = "SELECT key, step, value, timestamp FROM metrics ORDER BY key, step, timestamp"


def test_a_killed_pipeline_ends_as_never_killed(tmp_path: Path):
    """The whole process group dies in each stage in turn; then all of it runs undisturbed.

    The same seed twice: byte-identical files, no duplicate run or point.
    """
    project = clone(tmp_path / "vaebalance")
    for stage, moment in MOMENTS.items():
        kill_in(project, stage, moment)
    assert "Traceback" not in project.run("dvc", "repro")
    results = ("artifacts", "data/prepared", "metrics")
    found = project.digests(*results)
    assert project.tracked(RUNS) == [(1,)]
    leftovers = [p for p in project.root.rglob(".*") if p.parent.name in {"data", "artifacts"}]
    assert [p.name for p in leftovers if p.name != ".gitignore"] == []

    points = project.tracked(POINTS)
    assert project.repro("--force") == STAGES
    assert project.digests(*results) == found
    assert project.tracked(RUNS) == [(1,)]
    assert project.tracked(POINTS) == points


def kill_in(project: Project, stage: str, moment: float) -> None:
    """Run the pipeline and kill it, with all its children, some time into `stage`."""
    process = project.start("dvc", "repro", stage)
    assert process.stdout is not None
    for line in process.stdout:
        if stage in stages_run(line):
            break
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
