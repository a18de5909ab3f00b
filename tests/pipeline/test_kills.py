"""kill -9 in the middle of each stage, then again: the same result as never killed."""

import os
import signal
import time
from pathlib import Path

import pytest
from project import STAGES, Project, clone, stages_run


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of all results of an undisturbed run."""
    project = clone(tmp_path_factory.mktemp("whole") / "vaebalance")
    project.run("dvc", "repro")
    return project.digests("artifacts", "data/prepared", "metrics")


@pytest.mark.parametrize("moment", [0.3, 2.5])
def test_a_killed_pipeline_ends_the_same(
    tmp_path: Path, never_killed: dict[str, str], moment: float
):
    """The whole process group dies `moment` seconds into each stage in turn."""
    project = clone(tmp_path / "vaebalance")
    for stage in STAGES:
        kill_in(project, stage, moment)
    assert "Traceback" not in project.run("dvc", "repro")
    assert project.digests("artifacts", "data/prepared", "metrics") == never_killed
    runs = project.tracked("SELECT COUNT(*) FROM runs WHERE lifecycle_stage = 'active'")
    assert runs == [(1,)]
    leftovers = [p for p in project.root.rglob(".*") if p.parent.name in {"data", "artifacts"}]
    assert [p.name for p in leftovers if p.name != ".gitignore"] == []


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
