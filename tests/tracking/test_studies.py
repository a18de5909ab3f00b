"""A study's trials are nested runs, each made once, however often the study is continued."""

from __future__ import annotations

import pytest
from mlflow.entities import ViewType

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.tracking.store import open_store


class PrunedError(Exception):
    """The error that a study library raises."""


def runs(view=ViewType.ACTIVE_ONLY):
    store = open_store()
    found = store.client.search_runs([store.experiment_id], run_view_type=view)
    return {run.info.run_name: run for run in found}


def carry_out(project, numbers, trials=2):
    with tracking.study("beta on digits", {"parameter": "beta", "trials": trials}) as study:
        for number in numbers:
            params = {"balance": {"beta": 2.0**number}}
            with study.trial(number, params, {"sampler": "gp"}) as trial:
                for record in project.records(2):
                    trial.log_epoch(record)
                trial.log_metrics({"objective": 100.0 - number})
        study.log_metrics({"best": 100.0 - max(numbers)})
    return study


def test_trials_are_nested_and_continuing_repeats_none(project):
    study = carry_out(project, [0, 1])
    assert carry_out(project, [1, 2, 3], trials=4).run_id == study.run_id
    found = runs()
    assert sorted(found) == ["beta on digits", *(f"trial {number}" for number in range(4))]
    for number in range(4):
        trial = found[f"trial {number}"]
        assert trial.data.tags["mlflow.parentRunId"] == study.run_id
        assert trial.data.tags["sampler"] == "gp"
        assert trial.data.params == {"balance.beta": str(2.0**number)}
        assert trial.data.metrics["objective"] == 100.0 - number
        assert trial.info.status == "FINISHED"
        history = open_store().client.get_metric_history(trial.info.run_id, "train/rate")
        assert [metric.step for metric in history] == [10, 20]
    parent = found["beta on digits"]
    assert parent.data.params == {"parameter": "beta", "trials": "2"}
    assert parent.data.tags["trials"] == "4"  # a parameter cannot change
    assert parent.data.metrics["best"] == 97.0


def test_a_pruned_trial_is_told_from_a_failed_one(project):
    with tracking.study("s", {}, pruned=(PrunedError,)) as study:
        with pytest.raises(PrunedError), study.trial(0, {"beta": 1.0}):
            raise PrunedError("no hope")
        with pytest.raises(ValueError, match="bad"), study.trial(1, {"beta": 2.0}):
            raise ValueError("bad")
    found = runs()
    assert found["trial 0"].info.status == "KILLED"
    assert found["trial 1"].info.status == "FAILED"
    assert found["s"].info.status == "FINISHED"


def test_trials_of_a_former_study_of_the_same_name_give_way(project):
    for beta in (1.0, 2.0):
        with tracking.study("s", {}) as study, study.trial(0, {"beta": beta}):
            pass
    assert runs()["trial 0"].data.params == {"beta": "2.0"}
    assert len(open_store().client.search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)) == 1


def test_finished_trials_are_read_as_plain_data(project):
    """Read only studies on that dataset; of one begun again under an old name, the new trials."""
    assert tracking.trials("d" * 64) == []
    for name, digest, fingerprint, numbers in (
        ("s", "d" * 16, "old", (0, 1, 2)),
        ("s", "d" * 16, "new", (0, 1)),
        ("elsewhere", "e" * 16, "new", (0,)),
    ):
        params = {"data": {"digest": digest}, "likelihood": {"kind": fingerprint}}
        with tracking.study(name, params) as study:
            for number in numbers:
                about = {"balance": {"beta": 2.0}, "study": {"fingerprint": fingerprint}}
                with study.trial(number, about) as trial:
                    trial.log_metrics({"final/validation/rate": 10.0 + number})
            with pytest.raises(ValueError, match="bad"), study.trial(9, about):
                raise ValueError("bad")
    found = tracking.trials("d" * 64)
    assert [(trial.study, trial.number) for trial in found] == [("s", 0), ("s", 1)]
    assert [trial.metrics["final/validation/rate"] for trial in found] == [10.0, 11.0]
    assert found[0].params["likelihood.kind"] == "new"  # a parameter cannot change, a tag can


def test_files_of_a_study_are_logged(project):
    project.write_report()
    with tracking.study("s", {}) as study:
        study.log_artifacts(project.root / "artifacts/report", "report")
        study.set_tags({"promoted": "4.0"})
    (file,) = open_store().client.list_artifacts(study.run_id, "report")
    assert file.path == "report/index.html"
    assert runs()["s"].data.tags["promoted"] == "4.0"


def test_a_name_that_cannot_be_searched_for_is_refused(project):
    with pytest.raises(UserError, match="it's"), tracking.study("it's", {}):
        pass
