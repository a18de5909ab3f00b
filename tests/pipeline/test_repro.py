"""`dvc repro` and `dvc exp run` with real DVC and MLflow: stages that run, and MLflow's records.

The tests share a clone and build on each other, in this order; the last kills another.
"""

import csv
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.helpers.project import STAGES, Project, clone, stages_run

RESULTS = ("artifacts", "data/prepared", "metrics")
RUNS = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'"
POINTS = "SELECT key, step, value, timestamp FROM metrics ORDER BY key, step, timestamp"
DONE = "SELECT COUNT(*) FROM tags WHERE key LIKE 'stage.%' AND value = 'done'"
CLOCKED = {"images_per_second", "seconds"}
MOMENTS = dict(zip(STAGES, (0.3, 2.0, 3.0, 3.0), strict=True))
"""Seconds into each stage at which to kill: at its start, or after its imports, which take the most
of it."""


@dataclass(frozen=True)
class Outcome:
    """Results of a clone's first `dvc repro`."""

    stages: list[str]
    digests: dict[str, str]
    points: list[tuple[object, ...]]


@pytest.fixture(scope="module")
def undisturbed(project: Project) -> Outcome:
    """Run the shared clone's first `dvc repro`."""
    stages = project.repro()
    return Outcome(stages, project.digests(*RESULTS), repeated_points(project))


def repeated_points(project: Project) -> list[tuple[object, ...]]:
    """Return key, step and value of MLflow's metrics, without the values of durations."""
    return [
        (key, step, None if key in CLOCKED else value)
        for key, step, value, _ in project.tracked(POINTS)
    ]


def test_a_fresh_clone_runs_every_stage(project: Project, undisturbed: Outcome):
    assert undisturbed.stages == STAGES
    for path in (
        "artifacts/model/weights.safetensors",
        "artifacts/last.pt",
        "artifacts/history.csv",
        "artifacts/report/index.html",
        "data/prepared/manifest.parquet",
    ):
        assert (project.root / path).stat().st_size > 0, path
    assert not (project.root / "artifacts/curve").exists()  # its stage is off by default
    test = json.loads((project.root / "metrics/evaluation.json").read_text())["test"]
    assert test["negative_elbo"] == test["distortion"] + test["rate"]


def test_nothing_but_results_is_left(project: Project):
    """No temporary file or checkpoint is left; git sees only the lock file."""
    assert project.run("git", "status", "--porcelain").split() == ["??", "dvc.lock"]
    assert list((project.root / "checkpoints").iterdir()) == []
    assert [p.name for p in (project.root / "data").iterdir() if p.name.startswith(".")] == []


def test_one_run_is_shared_by_the_stages(project: Project):
    assert len(project.tracked(RUNS)) == 1
    assert project.tracked(DONE) == [(3,)]
    keys = {key for (key,) in project.tracked("SELECT DISTINCT key FROM metrics")}
    parts = ["distortion", "rate", "weighted_distortion", "weighted_rate", "weighted_loss"]
    parts += ["negative_elbo", "alpha", "beta"]
    wanted = {f"{split}/{part}" for split in ("train", "validation") for part in parts}
    wanted |= {"images_per_second", "learning_rate", "gradient_norm/distortion"}
    wanted |= {"test/negative_elbo", "test/importance_weighted_nll", "latents/active_units"}
    assert wanted <= keys


def test_again_nothing_runs(project: Project):
    output = project.run("dvc", "repro")
    assert "up to date" in output
    assert "Running stage" not in output


def test_an_experiment_with_another_beta_trains_and_what_follows(project: Project):
    project.run("git", "add", "dvc.lock")
    project.run("git", "commit", "--quiet", "--message", "One")
    output = project.run("dvc", "exp", "run", "--name", "four", "-S", "balance.beta=4")
    assert stages_run(output) == ["train", "evaluate", "report"]
    assert len(project.tracked(RUNS)) == 2
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json", "four", "HEAD"))
    rate = difference["metrics/evaluation.json"]["test.rate"]
    assert rate["new"] > rate["old"]  # a lower β raises the rate


def test_the_old_beta_again_runs_nothing(project: Project):
    """DVC's run cache has it."""
    points = project.tracked(POINTS)
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert project.repro() == []
    assert project.tracked(POINTS) == points


def test_a_change_of_the_report_section_makes_the_report_alone_which_fills_a_lost_store(
    project: Project,
):
    """It restores the curves with steps, values and times, the evaluation and the model."""
    provenance = json.loads((project.root / "artifacts/model/provenance.json").read_text())
    query = f"""SELECT m.key, m.step, m.value FROM metrics m
        JOIN tags t ON t.run_uuid = m.run_uuid
        WHERE t.key = 'vaebalance.fingerprint' AND t.value = '{provenance["fingerprint"]}'
        AND (m.key LIKE 'train/%' OR m.key LIKE 'validation/%' OR m.key LIKE 'test/%')
        ORDER BY m.key, m.step"""
    points = project.tracked(query)
    assert len([key for key, *_ in points if key == "train/rate"]) == 3
    for path in project.root.glob("mlflow.db*"):
        path.unlink()
    project.set("traversal_steps: 9 ", "traversal_steps: 5 ")
    assert project.repro() == ["report"]
    assert project.tracked(query) == points
    assert len(project.tracked(RUNS)) == 1
    assert project.count("logged_models") == 1
    with (project.root / "artifacts/timing.csv").open(newline="") as file:
        clock = [int(row["finished_at"]) for row in csv.DictReader(file)]
    times = project.tracked("SELECT timestamp FROM metrics WHERE key = 'train/rate' ORDER BY step")
    assert [time for (time,) in times] == clock


def test_a_wrong_knob_stops_before_anything_is_lost(project: Project):
    before = project.digests("artifacts", "metrics")
    project.set("latent_size: 8 ", "latent_size: 0 ")
    output = project.run("dvc", "repro", fails=True)
    assert "error: params.yaml: model.latent_size = 0: input should be greater" in output
    assert "Traceback" not in output
    project.set("latent_size: 0 ", "latent_size: 8 ")
    assert project.repro() == []
    assert project.digests("artifacts", "metrics") == before


def test_a_copy_runs_its_own_code_and_logs_into_the_same_store(project: Project):
    """Imports come from the copy's src, not from wherever the package is installed."""
    runs = project.count("runs")
    elbo = project.root / "src" / "vaebalance" / "vae" / "elbo.py"
    elbo.write_text(elbo.read_text(encoding="utf-8") + '\nprint("code of", __file__)\n')
    command = ("dvc", "exp", "run", "--temp", "--name", "copy")
    output = project.run(*command, "-S", "balance.beta=2", "train")
    assert "train" in stages_run(output)
    assert "/.dvc/tmp/exps/" in output.partition("code of")[2].splitlines()[0]
    project.run("git", "checkout", "--quiet", "src")
    assert project.count("runs") == runs + 1
    tags = project.tracked("SELECT value FROM tags WHERE key = 'DVC_EXP_NAME'")
    assert ("copy",) in tags
    assert not list(project.root.glob(".dvc/tmp/exps/**/mlflow.db"))
    table = json.loads(project.run("dvc", "exp", "show", "--json"))
    names = {e["name"] for row in table for e in (row.get("experiments") or [])}
    assert {"four", "copy"} <= names


def test_every_knob_can_be_set(project: Project):
    """Each key of params.yaml is accepted by -S with its own value, and kept.

    (tune.space, whose keys are paths, as a whole.)
    """

    def leaves(values, path=""):
        for name, value in values.items():
            if isinstance(value, dict) and not any("." in key for key in value):
                yield from leaves(value, f"{path}{name}.")
            else:
                yield f"{path}{name}", value

    def in_words(value):
        """Format a value for -S, with keys without quotes."""
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {in_words(v)}" for key, v in value.items()) + "}"
        return json.dumps(value)

    raw = YAML(typ="safe").load((project.root / "params.yaml").read_text(encoding="utf-8"))
    settings = [f"{key}={in_words(value)}" for key, value in leaves(raw)]
    arguments = [part for setting in settings for part in ("-S", setting)]
    project.run("dvc", "exp", "run", "--name", "all", *arguments, "prepare")
    after = YAML(typ="safe").load((project.root / "params.yaml").read_text(encoding="utf-8"))
    assert after == raw


def test_a_killed_pipeline_ends_as_never_killed(undisturbed: Outcome, tmp_path: Path):
    """Kill the whole process group in each stage in turn.

    With the same seed as the other clone, files are byte-identical and no run or point is doubled.
    """
    project = clone(tmp_path / "vaebalance")
    for stage, moment in MOMENTS.items():
        kill_in(project, stage, moment)
    assert "Traceback" not in project.run("dvc", "repro")
    assert project.digests(*RESULTS) == undisturbed.digests
    assert len(project.tracked(RUNS)) == 1
    assert repeated_points(project) == undisturbed.points
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
