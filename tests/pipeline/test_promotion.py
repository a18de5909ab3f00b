"""A study, its promotion and the `dvc repro` that follows, with real DVC, Optuna and MLflow.

The tests share a clone and build on each other, in this order.
"""

import json
from pathlib import Path

import pytest

from tests.helpers.project import Project
from vaebalance.data import open_dataset
from vaebalance.objectives.objectives import Trained
from vaebalance.settings import Settings, load
from vaebalance.vae.saved_model import load_model

TUNE = "pipelines/tune.py"
VERSIONS = "SELECT version, run_id FROM model_versions ORDER BY version"
POINTS = "SELECT run_uuid, key, step, value, timestamp FROM metrics ORDER BY 1, 2, 3, 5"
ALIASES = "SELECT name, alias, version FROM registered_model_aliases"
SETTINGS = {
    "objective: {kind: nll} ": "objective: {kind: nll, samples: 8} ",
    "study: balance ": "study: small ",
    "trials: 20 ": "trials: 3 ",
    "sampler: gp ": "sampler: quasi_random ",
    "device: auto ": "device: cpu ",
}


def measured(project: Project) -> tuple[float, ...]:
    """Return the objective's values of the clone's model."""
    with project.entered():
        settings, dataset = load(Settings), open_dataset(Path("data/prepared"))
        model = load_model(Path("artifacts/model"))
        trained = Trained(model, None, dataset, settings.evaluate, settings.seed)
        return settings.tune.objective.measure(trained).values


def trials_of(project: Project) -> dict[int, float]:
    """Return the nll by trial, from the study's table."""
    import csv

    with (project.root / "studies/small/trials.csv").open(newline="") as file:
        return {int(row["trial"]): float(row["nll"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def studied(project: Project) -> Project:
    """Run a study in the clone, which has no model yet."""
    for old, new in SETTINGS.items():
        project.set(old, new)
    project.repro("prepare")
    project.here(TUNE)
    return project


def test_plots_without_a_study_show_the_others(project: Project):
    """A fresh clone has no study, nor has one after a change of tune.study."""
    shown = json.loads(plots(project))
    missing = {(e["source"], e["type"]) for e in shown["errors"]}
    assert ("studies/balance/trials.csv", "FileNotFoundError") in missing
    project.run("dvc", "status")


def plots(project: Project) -> str:
    """Return the output of `dvc plots show --json` without its warnings."""
    return next(
        line
        for line in project.run("dvc", "plots", "show", "--json").splitlines()
        if line[0] == "{"
    )


def test_the_promoted_trial_is_reached_bit_for_bit_and_registered(studied: Project):
    number = min(trials_of(studied), key=lambda n: trials_of(studied)[n])
    output = studied.here(TUNE, "--promote", str(number))
    assert "Train with it: `dvc repro`, which registers the model." in output
    assert studied.tracked(VERSIONS) == []
    assert studied.repro("train") == ["train"]
    ((version, _),) = studied.tracked(VERSIONS)
    assert measured(studied) == (trials_of(studied)[number],)
    assert studied.tracked(ALIASES) == [("vaebalance", "promoted", version)]
    tags = dict(studied.tracked("SELECT key, value FROM model_version_tags"))
    assert (tags["study"], tags["trial"]) == ("small", str(number))
    assert float(tags["nll"]) == trials_of(studied)[number]
    assert tags["why"] in output


def test_trained_again_all_is_as_it_was(studied: Project):
    """Files have the same bytes; no run, point or version is added."""
    files, points = studied.digests("artifacts", "metrics"), studied.tracked(POINTS)
    versions, runs = studied.tracked(VERSIONS), studied.count("runs")
    assert studied.repro("--force", "--single-item", "train") == ["train"]
    assert studied.digests("artifacts", "metrics") == files
    assert studied.tracked(POINTS) == points
    assert (studied.tracked(VERSIONS), studied.count("runs")) == (versions, runs)


def test_an_edit_by_hand_is_not_registered_and_what_dvc_has_is_at_once(studied: Project):
    params = studied.root / "params.yaml"
    promoted = params.read_text(encoding="utf-8")
    studied.set("latent_size: 8 ", "latent_size: 3 ")
    assert studied.repro("train") == ["train"]
    assert len(studied.tracked(VERSIONS)) == 1
    params.write_text(promoted, encoding="utf-8")
    record = json.loads((studied.root / "promotion.json").read_text(encoding="utf-8"))
    output = studied.here(TUNE, "--promote", str(record["trial"]))
    assert "It was trained before, and is models:/vaebalance@promoted" in output
    assert studied.repro("train") == []
    assert len(studied.tracked(VERSIONS)) == 1


def test_plots_show_the_study(studied: Project):
    """Only trials on the Pareto set have a circle."""
    data = json.loads(plots(studied))["data"]
    (plot,) = data["trials and frontier of the study"]
    points = plot["content"]["data"]["values"]
    found = {
        p["filename"]: {int(q["trial"]) for q in points if q["filename"] == p["filename"]}
        for p in points
    }
    assert found["trials.csv"] == set(trials_of(studied))
    assert set() < found["frontier.csv"] <= found["trials.csv"]
    assert plot["content"]["encoding"]["x"]["title"] == "rate R, nats per image"
