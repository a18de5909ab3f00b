"""`dvc repro` with real DVC and MLflow: what runs, what does not, what MLflow then has.

The tests share a clone and build on each other, in this order.
"""

import csv
import json

from project import STAGES, Project

RUNS = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'"
POINTS = "SELECT key, step, value, timestamp FROM metrics ORDER BY key, step, timestamp"
DONE = "SELECT COUNT(*) FROM tags WHERE key LIKE 'stage.%' AND value = 'done'"


def test_a_fresh_clone_runs_every_stage(project: Project):
    assert project.repro() == STAGES
    for path in (
        "artifacts/model/weights.safetensors",
        "artifacts/last.pt",
        "artifacts/history.csv",
        "artifacts/report/index.html",
        "data/prepared/manifest.parquet",
    ):
        assert (project.root / path).stat().st_size > 0, path
    assert not (project.root / "artifacts/curve").exists()  # whose stage is off unless asked for
    test = json.loads((project.root / "metrics/evaluation.json").read_text())["test"]
    assert test["negative_elbo"] == test["distortion"] + test["rate"]


def test_nothing_but_results_is_left(project: Project):
    """No scratch, no checkpoint of a training that is over; git sees the lock file alone."""
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


def test_another_beta_trains_and_what_follows(project: Project):
    project.set("beta: 1.0 ", "beta: 4.0 ")
    assert project.repro() == ["train", "evaluate", "report"]
    assert len(project.tracked(RUNS)) == 2


def test_the_old_beta_again_runs_nothing(project: Project):
    """DVC's run cache has it."""
    points = project.tracked(POINTS)
    project.set("beta: 4.0 ", "beta: 1.0 ")
    assert project.repro() == []
    assert project.tracked(POINTS) == points


def test_a_change_of_the_report_section_makes_the_report_alone(project: Project):
    project.set("traversal_steps: 9 ", "traversal_steps: 5 ")
    assert project.repro() == ["report"]
    assert len(project.tracked(RUNS)) == 2


def test_a_lost_store_is_filled_again_when_a_stage_runs(project: Project):
    """Curves with their steps, values and the times of the training, evaluation, and model."""
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
    project.set("traversal_steps: 5 ", "traversal_steps: 4 ")
    assert project.repro() == ["report"]
    assert project.tracked(query) == points
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
