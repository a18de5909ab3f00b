"""The curve's stage: off by default; other stages can use its results."""

import json

from tests.helpers.project import Project, stages_run

CURVE = "curve/dvc.yaml"
VERSIONS = "SELECT version, run_id FROM model_versions"
ALIASES = "SELECT name, alias, version FROM registered_model_aliases"
COMMAND = "pipelines/curve.py"


def test_it_runs_when_asked_for_with_what_it_needs(project: Project):
    project.set("points: 25 ", "points: 4 ")
    project.set("epochs: 3 ", "epochs: 20 ")
    project.set("sample_images: 5000 ", "sample_images: 0 ")
    output = project.run("dvc", "repro", CURVE)
    assert stages_run(output) == ["prepare"]
    assert "Running stage 'curve/dvc.yaml:curve'" in output
    for name in ("curve.csv", "curve.json", "slider.npz", "weights.safetensors"):
        assert (project.root / "artifacts/curve" / name).stat().st_size > 0


def test_a_weight_that_it_promotes_is_trained_with_and_leaves_the_curve(project: Project):
    project.here(COMMAND, "--promote", "0.25")
    again = project.run("dvc", "repro", CURVE)
    assert "Stage 'curve/dvc.yaml:curve' didn't change, skipping" in again
    assert project.tracked(VERSIONS) == []
    assert project.repro() == ["train", "evaluate", "report"]
    ((version, run_id),) = project.tracked(VERSIONS)
    assert project.tracked(ALIASES) == [("vaebalance", "promoted", version)]
    tags = dict(project.tracked("SELECT key, value FROM model_version_tags"))
    made = json.loads((project.root / "artifacts/curve/provenance.json").read_text())
    assert (tags["curve"], tags["beta"]) == (made["fingerprint"], "0.25")
    run_tags = "SELECT run_uuid FROM tags WHERE key = 'vaebalance.promoted_from'"
    assert project.tracked(run_tags) == [(run_id,)]
    page = (project.root / "artifacts/report/index.html").read_text(encoding="utf-8")
    assert 'id="slider"' in page
    assert "run&#39;s β" in page


def test_a_distilled_model_serves_the_evaluate_stage(project: Project):
    """The evaluation gives the numbers that the curve has at this β."""
    project.here(COMMAND, "--distill", "best", "artifacts/model")
    project.here("pipelines/evaluate.py")
    best = json.loads((project.root / "metrics/curve.json").read_text())["best"]
    test = json.loads((project.root / "metrics/evaluation.json").read_text())["test"]
    for name in ("distortion", "rate", "rmse", "psnr"):
        assert test[name] == best[name], name
