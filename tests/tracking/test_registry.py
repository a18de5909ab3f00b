"""The promoted model in the registry: once, with the alias, and nothing else."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import mlflow
import pytest

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.settings.params_file import rewrite
from vaebalance.tracking.registry import (
    FILE,
    CurveOrigin,
    Promotion,
    read_promotion,
    write_promotion,
)
from vaebalance.tracking.store import open_store

ADDRESS = "models:/vaebalance@promoted"


def promotion_of(provenance, trial=7, at="2026-01-01T00:00:00.000+00:00"):
    return Promotion(
        study="beta on digits",
        trial=trial,
        values={"nll": 20.12345678901234},
        point={"balance.beta": provenance.params["balance"]["beta"]},
        why=f"trial {trial}: the least of 9",
        at=at,
        params=provenance.params,
        dataset_digest=provenance.dataset["digest"],
    )


def curve_promotion_of(provenance, at):
    beta = provenance.params["balance"]["beta"]
    return replace(
        promotion_of(provenance, at=at),
        study=None,
        trial=None,
        curve=CurveOrigin("f" * 64, "conditioned", "knee", beta),
        values={"curve/rate": 8.5},
        why="the knee",
    )


def train(project, beta, epochs=1):
    provenance = project.provenance(beta)
    with tracking.run(provenance, "train") as tracker:
        project.write_training(provenance, epochs=epochs)
    return provenance, tracker.run_id


def versions():
    found = open_store().client.search_model_versions("name = 'vaebalance'")
    return {int(version.version): version for version in found}


def promoted():
    """Return the number of the version that has the alias."""
    return int(open_store().client.get_model_version_by_alias("vaebalance", "promoted").version)


def test_the_promoted_settings_are_registered_once_when_they_are_trained(project):
    provenance = project.provenance(4.0)
    write_promotion(project.root, promotion_of(provenance))
    train(project, 1.0)
    assert versions() == {}
    _, run_id = train(project, 4.0)
    with tracking.run(provenance, "evaluate"):
        project.write_evaluation()
    train(project, 4.0)
    (version,) = versions().values()
    assert version.run_id == run_id
    assert version.tags == {
        "study": "beta on digits",
        "trial": "7",
        "why": "trial 7: the least of 9",
        "nll": "20.12345678901234",
        "promoted_at": "2026-01-01T00:00:00.000+00:00",
    }
    assert version.description == "trial 7: the least of 9"
    assert promoted() == 1
    tracking.configure()
    model = mlflow.pyfunc.load_model(ADDRESS)
    assert model.metadata.run_id == run_id
    answer = model.predict({}, params={"call": "sample", "n": 2, "seed": 1})
    assert len(answer["images"]) == 2


def test_nothing_is_registered_without_a_promotion_or_on_other_data(project):
    provenance, _ = train(project, 1.0)
    write_promotion(project.root, replace(promotion_of(provenance), dataset_digest="e" * 64))
    train(project, 1.0)
    assert open_store().client.search_registered_models() == []


def test_what_was_trained_before_is_registered_at_once(project):
    """Register a model that DVC takes from its cache, so that no stage runs again."""
    provenance, run_id = train(project, 1.0)
    assert tracking.register_trained(project.provenance(2.0), promotion_of(provenance)) is None
    for _ in range(2):
        assert tracking.register_trained(provenance, promotion_of(provenance)) == ADDRESS
    (version,) = versions().values()
    assert version.run_id == run_id


@pytest.mark.parametrize("of", [promotion_of, curve_promotion_of], ids=["trial", "curve"])
def test_a_trial_and_a_place_on_a_curve_are_promoted_alike(project, of):
    provenance = project.provenance()
    made = of(provenance, at="")
    names = [field.name for field in fields(tracking.Selection)]
    selection = tracking.Selection(**{name: getattr(made, name) for name in names})
    params = project.root / "params.yaml"
    params.write_text("beta: 2.0\n", encoding="utf-8")

    def promote():
        write = partial(rewrite, Path("params.yaml"), lambda text: text.replace("2.0", "1.0"))
        return tracking.promote(selection, provenance, write)

    first = promote()
    assert params.read_text(encoding="utf-8") == "beta: 1.0\n"
    assert read_promotion(project.root) == first.promotion == replace(made, at=first.promotion.at)
    said = first.report("OMP_NUM_THREADS=3 ")
    assert said.startswith(f"{selection.why}\n--- params.yaml\n")
    assert "-beta: 2.0\n+beta: 1.0\n" in said
    assert said.endswith("Train with it: `OMP_NUM_THREADS=3 dvc repro`, which registers the model.")
    with tracking.run(provenance, "train"):
        project.write_training(provenance)
    assert promote().report().splitlines()[1:] == [
        "params.yaml has these values already.",
        "Train with it: `dvc repro`.",
        f"It was trained before, and is {ADDRESS} in MLflow's registry.",
    ]


def test_the_alias_goes_to_the_latest_promotion_and_not_back_to_an_older(project):
    first, second = train(project, 1.0)[0], train(project, 4.0)[0]
    older = promotion_of(first, 1, "2026-01-01T00:00:00.000+00:00")
    newer = promotion_of(second, 2, "2026-02-01T00:00:00.000+00:00")
    assert tracking.register_trained(first, older) == ADDRESS
    assert tracking.register_trained(second, newer) == ADDRESS
    assert promoted() == 2
    assert tracking.register_trained(first, older) == "models:/vaebalance/1"
    assert promoted() == 2
    again = promotion_of(first, 1, "2026-03-01T00:00:00.000+00:00")
    assert tracking.register_trained(first, again) == ADDRESS
    assert promoted() == 1
    assert len(versions()) == 2
    assert versions()[1].tags["promoted_at"] == again.at


def test_another_training_of_the_same_settings_becomes_another_version(project):
    provenance, _ = train(project, 1.0)
    write_promotion(project.root, promotion_of(provenance))
    train(project, 1.0)
    with tracking.run(provenance, "train"):  # a device that does not repeat itself
        project.write_training(provenance, epochs=1, scale=2.0)
    assert sorted(versions()) == [1, 2]
    assert promoted() == 2


def test_a_place_on_a_curve_takes_the_place_of_a_trial_and_back(project):
    """Promote the same model from both; it names only the latest origin."""
    provenance, run_id = train(project, 4.0)
    tracking.register_trained(provenance, promotion_of(provenance))
    run = open_store().client.get_run(run_id)
    assert run.data.tags["vaebalance.promoted_from"] == "study beta on digits, trial 7"
    later = "2026-02-01T00:00:00.000+00:00"
    write_promotion(project.root, curve_promotion_of(provenance, later))
    train(project, 4.0)
    (version,) = versions().values()
    assert version.tags == {
        "curve": "f" * 64,
        "method": "conditioned",
        "rule": "knee",
        "beta": "4.0",
        "curve/rate": "8.5",
        "nll": "20.12345678901234",
        "why": "the knee",
        "promoted_at": later,
    }
    assert version.description == "the knee"
    run = open_store().client.get_run(run_id)
    assert run.data.tags["vaebalance.promoted_from"].startswith(f"curve {'f' * 64}, method cond")
    again = promotion_of(provenance, at="2026-03-01T00:00:00.000+00:00")
    assert tracking.register_trained(provenance, again) == ADDRESS
    (version,) = versions().values()
    assert set(version.tags) == {"study", "trial", "why", "nll", "promoted_at"}


@pytest.mark.parametrize("of_curve", [False, True])
def test_the_file_comes_back_as_it_was_written(project, of_curve):
    promotion = promotion_of(project.provenance())
    if of_curve:
        promotion = curve_promotion_of(project.provenance(), promotion.at)
    assert read_promotion(project.root) is None
    write_promotion(project.root, promotion)
    assert read_promotion(project.root) == promotion
    kept = json.loads((project.root / FILE).read_text())
    assert ("curve" in kept, "study" in kept, "trial" in kept) == (
        of_curve,
        not of_curve,
        not of_curve,
    )


@pytest.mark.parametrize("content", ["{", '{"study": "s"}', "[]", '{"curve": "c"}'])
def test_a_damaged_file_is_named_with_its_remedy(project, content):
    (project.root / FILE).write_text(content)
    with pytest.raises(UserError, match=r"promotion\.json.*--promote.*or delete it"):
        read_promotion(project.root)
