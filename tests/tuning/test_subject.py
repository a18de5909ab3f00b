"""A study stays about what it was begun with."""

import dataclasses
import json

import pytest

from vaebalance.data import open_dataset
from vaebalance.errors import UserError
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.tuning.journal import Journal
from vaebalance.tuning.subject import (
    describe_subject,
    fingerprint,
    open_prepared,
    refuse_other_subject,
    refuse_pointless,
    remember,
    search_space,
    space_of,
    start_of,
    with_weight,
)


@pytest.fixture
def settings(project):
    return load(Settings, project() / PARAMS)


@pytest.fixture
def dataset(prepared):
    return open_dataset(prepared)


@pytest.fixture
def journal(settings, dataset, tmp_path):
    journal = Journal(tmp_path / "s")
    remember(journal, describe_subject(settings, dataset), search_space(settings), 1.0)
    return journal


def test_the_weight_and_what_changes_no_number_are_no_part_of_it(settings, dataset):
    subject = describe_subject(settings, dataset)
    same = settings.replace(
        balance=settings.balance.replace(beta=3.0),
        train=settings.train.replace(checkpoint_every=7),
        tune=settings.tune.replace(trials=99, sampler="tpe", study="other"),
        report=settings.report.replace(images=3),
        evaluate=settings.evaluate.replace(nll_samples=3),
    )
    assert describe_subject(same, dataset) == subject
    assert fingerprint(describe_subject(same, dataset)) == fingerprint(subject)
    assert json.loads(json.dumps(subject)) == subject


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("train", {"epochs": 4}, r"train\.epochs: 3 in the study, 4 now"),
        ("balance", {"alpha": 2.0}, r"balance\.alpha: 1\.0 in the study, 2\.0 now"),
        ("tune", {"low": 0.01}, r"tune\.low: 0\.05 in the study, 0\.01 now"),
        ("tune", {"parameter": "alpha"}, r"tune\.parameter: \"beta\" in the study, \"alpha\" now"),
        ("model", {"latent_size": 3}, r"model\.latent_size: 8 in the study, 3 now"),
        ("likelihood", {"kind": "gaussian", "sigma": 0.1}, r"likelihood\.sigma: absent in the st"),
        (None, {"seed": 5}, r"seed: 0 in the study, 5 now"),
    ],
)
def test_other_settings_are_refused(settings, dataset, journal, section, changes, message):
    refuse_other_subject(journal, describe_subject(settings, dataset))
    if section is None:
        other = settings.replace(**changes)
    else:
        values = settings.model_dump()[section] | changes
        other = settings.replace(**{section: values})
    with pytest.raises(UserError, match=message) as raised:
        refuse_other_subject(journal, describe_subject(other, dataset))
    assert "begin another study by a new name in tune.study" in str(raised.value)
    if "parameter" in changes:
        assert "balance" not in str(raised.value)


def test_other_data_is_refused(settings, dataset, journal):
    info = dataclasses.replace(dataset.info, digest="0" * 64)
    other = dataclasses.replace(dataset, info=info)
    with pytest.raises(UserError, match=r'data/prepared \(digest\): "\w+" in the study, "0000'):
        refuse_other_subject(journal, describe_subject(settings, other))


def test_what_it_searches_is_remembered(settings, journal):
    assert space_of(journal) == search_space(settings)
    assert start_of(journal) == 1.0


def test_a_weight_out_of_range_is_not_the_start(settings, dataset, tmp_path):
    journal = Journal(tmp_path / "other")
    remember(journal, describe_subject(settings, dataset), search_space(settings), 0.01)
    assert start_of(journal) is None


def test_a_trials_settings_are_checked_ones_with_the_weight(settings):
    trial = with_weight(settings, 0.4128)
    assert trial.balance == settings.balance.replace(beta=0.4128)
    assert (trial.train, trial.model, trial.seed) == (settings.train, settings.model, 0)
    with pytest.raises(ValueError, match="beta"):
        with_weight(settings, -1.0)


def test_a_search_that_makes_no_difference_is_refused(settings):
    refuse_pointless(settings)
    plain = settings.replace(model=settings.model.replace(posterior="deterministic"))
    with pytest.raises(UserError, match=r"model\.posterior = 'deterministic'.*no rate"):
        refuse_pointless(plain)
    alone = settings.replace(balance=settings.balance.replace(alpha=0.0))
    with pytest.raises(UserError, match=r"balance\.alpha = 0.*'beta' would make no difference"):
        refuse_pointless(alone)


def test_a_weight_that_the_balance_sets_itself_cannot_be_searched(settings):
    itself = settings.replace(balance={"kind": "control_vae", "rate": 6.0})
    with pytest.raises(UserError, match=r"'beta'.*'control_vae' sets this weight itself"):
        refuse_pointless(itself)


def lock_file(folder, **data):
    section = {"source": {"kind": "digits"}, "validation_fraction": 0.1, "max_images": 150} | data
    params = {PARAMS.name: {"seed": 0, "data": section}}
    lock = {"schema": "2.0", "stages": {"prepare": {"cmd": "x", "params": params}}}
    (folder / "dvc.lock").write_text(json.dumps(lock))


def test_data_prepared_with_other_settings_is_refused(project):
    folder = project()
    settings = load(Settings)
    open_prepared(settings)
    try:
        lock_file(folder)
        open_prepared(settings)
        lock_file(folder, binarisation="dynamic")
        message = r'made with data\.binarisation = "dynamic", and params\.yaml now says "none"'
        with pytest.raises(UserError, match=message):
            open_prepared(settings)
    finally:
        (folder / "dvc.lock").unlink()


def test_missing_data_is_refused(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run `dvc repro prepare`"):
        open_prepared(settings)
