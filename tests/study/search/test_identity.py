"""A study keeps the settings and the data with which it began."""

import dataclasses
import json

import pytest

from vaebalance.base.errors import UserError
from vaebalance.data import open_dataset
from vaebalance.settings import PARAMS, Settings, load, parse
from vaebalance.study.search.identity import (
    Beginning,
    StudyIdentity,
    open_prepared,
    refuse_pointless,
)
from vaebalance.study.search.knobs import search_space
from vaebalance.study.storage.journal import Journal


@pytest.fixture
def settings(project):
    return load(Settings, project() / PARAMS)


@pytest.fixture
def dataset(prepared):
    return open_dataset(prepared)


@pytest.fixture
def beginning(settings, dataset, tmp_path):
    """Return a beginning that was written to a study's notes and read back."""
    journal = Journal(tmp_path / "s")
    assert Beginning.read(journal) is None
    Beginning(identity_of(settings, dataset), {"balance.beta": 1.0}, None).write(journal)
    return Beginning.read(Journal(tmp_path / "s"))


def test_the_note_is_laid_out_as_in_studies_on_disk(settings, dataset, tmp_path):
    """Otherwise a study of an earlier version could not continue."""
    journal, identity = Journal(tmp_path / "s"), identity_of(settings, dataset)
    Beginning(identity, {"balance.beta": 1.0}, 27.5).write(journal)
    content = json.loads(json.dumps(identity.content))
    start = {"balance.beta": 1.0}
    assert journal.notes == {"subject": {"of": content, "start": start, "zero_distortion": 27.5}}
    assert list(content) == [
        *("tune", "seed", "data", "model", "likelihood", "balance", "penalty", "train", "evaluate")
    ]


def identity_of(settings, dataset):
    return StudyIdentity.of(settings, dataset, search_space(settings))


def spanning(settings, **spans):
    """Return settings whose searched knobs are the keywords, such as `balance_beta={…}`."""
    space = {knob.replace("_", ".", 1): span for knob, span in spans.items()}
    raw = settings.model_dump(mode="json")
    raw["tune"]["space"] = space
    return parse(raw)


def test_the_weight_and_what_changes_no_number_are_no_part_of_it(settings, dataset):
    identity = identity_of(settings, dataset)
    same = settings.replace(
        balance=settings.balance.replace(beta=3.0),
        train=settings.train.replace(checkpoint_every=7),
        tune=settings.tune.replace(trials=99, sampler="tpe", study="other"),
        report=settings.report.replace(images=3),
        evaluate=settings.evaluate.replace(nll_samples=3),
    )
    assert identity_of(same, dataset) == identity
    assert identity_of(same, dataset).fingerprint == identity.fingerprint
    assert json.loads(json.dumps(identity.content)) == identity.content


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("train", {"epochs": 4}, r"train\.epochs: 3 in the study, 4 now"),
        ("balance", {"alpha": 2.0}, r"balance\.alpha: 1\.0 in the study, 2\.0 now"),
        (
            "tune",
            {"space": {"balance.beta": {"low": 0.02, "high": 10.0, "log": True}}},
            r"tune\.space\.balance\.beta\.low: 0\.01 in the study, 0\.02 now",
        ),
        (
            "tune",
            {"space": {"balance.alpha": {"low": 0.05, "high": 20.0, "log": True}}},
            r"tune\.space\.balance\.alpha\.low: absent in the study, 0\.05 now",
        ),
        ("tune", {"objective": {"kind": "nll", "samples": 5}}, r"samples: 64 in the study, 5 now"),
        ("evaluate", {"latent_samples": 7}, r"evaluate\.latent_samples: 5000 in the study, 7 now"),
        ("model", {"latent_size": 3}, r"model\.latent_size: 8 in the study, 3 now"),
        ("likelihood", {"kind": "gaussian", "sigma": 0.1}, r"likelihood\.sigma: absent in the st"),
        (None, {"seed": 5}, r"seed: 0 in the study, 5 now"),
    ],
)
def test_other_settings_are_refused(settings, dataset, beginning, section, changes, message):
    beginning.identity.refuse_other(identity_of(settings, dataset), "s")
    if section is None:
        other = settings.replace(**changes)
    else:
        values = settings.model_dump()[section] | changes
        other = settings.replace(**{section: values})
    with pytest.raises(UserError, match=message) as raised:
        beginning.identity.refuse_other(identity_of(other, dataset), "s")
    assert "begin another study by a new name in tune.study" in str(raised.value)
    if "space" in changes:  # the differences in other knobs follow from this
        assert "balance.beta: " not in str(raised.value)


def test_other_data_is_refused(settings, dataset, beginning):
    info = dataclasses.replace(dataset.info, digest="0" * 64)
    other = dataclasses.replace(dataset, info=info)
    with pytest.raises(UserError, match=r'data/prepared \(digest\): "\w+" in the study, "0000'):
        beginning.identity.refuse_other(identity_of(settings, other), "s")


def test_what_it_searches_is_remembered(settings, beginning):
    assert beginning.identity.space == search_space(settings)
    assert beginning.start == {"balance.beta": 1.0}
    assert beginning.identity.objective == settings.tune.objective
    assert beginning.reference is None


def test_the_hypervolumes_reference_point_is_remembered(settings, dataset, tmp_path):
    tune = settings.tune.model_dump() | {"objective": {"kind": "frontier", "largest_rate": 40.0}}
    frontier = settings.replace(tune=tune)
    journal = Journal(tmp_path / "other", ("lower", "lower"))
    Beginning(identity_of(frontier, dataset), None, 27.5).write(journal)
    assert Beginning.read(journal).reference == (27.5, 40.0)
    assert Beginning.read(journal).start is None


def test_what_an_objective_reads_of_the_evaluation_counts(settings, dataset):
    """Other settings of the evaluation do not count."""
    more = settings.evaluate.replace(latent_samples=99)
    for objective, counts in (
        ({"kind": "negative_elbo"}, False),
        ({"kind": "nll"}, True),
        ({"kind": "metric", "name": "latents/coverage"}, True),
    ):
        one = settings.replace(tune=settings.tune.model_dump() | {"objective": objective})
        other = one.replace(evaluate=more)
        assert (identity_of(one, dataset) != identity_of(other, dataset)) == counts


def pointless(settings):
    refuse_pointless(settings, search_space(settings))


def test_a_search_that_makes_no_difference_is_refused(settings):
    pointless(settings)
    plain = settings.replace(model=settings.model.replace(posterior="deterministic"))
    with pytest.raises(UserError, match=r"model\.posterior = 'deterministic'.*no rate"):
        pointless(plain)
    alone = settings.replace(balance=settings.balance.replace(alpha=0.0))
    with pytest.raises(
        UserError, match=r"balance\.alpha = 0.*tune\.space would make no difference"
    ):
        pointless(alone)


def test_an_autoencoder_may_be_searched_for_what_needs_no_rate(settings):
    rates = {"low": 1e-4, "high": 1e-2, "log": True}
    plain = spanning(settings, train_learning_rate=rates).replace(
        model=settings.model.replace(posterior="deterministic")
    )
    with pytest.raises(UserError, match="no rate"):
        pointless(plain)
    metric = {"objective": {"kind": "metric", "name": "test/ssim"}}
    pointless(plain.replace(tune=plain.tune.model_dump() | metric))


def test_kinds_of_likelihood_compare_by_what_is_calibrated_only(settings):
    kinds = spanning(settings, likelihood_kind={"choices": ["bernoulli", "laplace"]})
    pointless(kinds)
    own = ["negative_elbo", "frontier"]
    own_metric = {"kind": "metric", "name": "test/importance_weighted_nll"}
    for objective in [*({"kind": kind} for kind in own), own_metric]:
        other = kinds.replace(tune=kinds.tune.model_dump() | {"objective": objective})
        with pytest.raises(UserError, match=r"likelihood\.kind cannot be searched.*kind: nll"):
            pointless(other)
    metric = {"kind": "metric", "name": "test/calibrated_nll"}
    pointless(kinds.replace(tune=kinds.tune.model_dump() | {"objective": metric}))


def lock_file(folder, **data):
    section = {"source": {"kind": "digits"}, "validation_fraction": 0.1, "max_images": 150} | data
    params = {PARAMS.name: {"seed": 0, "data": section}}
    lock = {"schema": "2.0", "stages": {"prepare": {"cmd": "x", "params": params}}}
    (folder / "dvc.lock").write_text(json.dumps(lock))


def test_data_prepared_with_other_settings_is_refused(project):
    folder = project()
    open_prepared()
    try:
        lock_file(folder)
        open_prepared()
        lock_file(folder, binarisation="dynamic")
        message = r'made with data\.binarisation = "dynamic", and params\.yaml now says "none"'
        with pytest.raises(UserError, match=message):
            open_prepared()
    finally:
        (folder / "dvc.lock").unlink()


def test_missing_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run `dvc repro prepare`"):
        open_prepared()
