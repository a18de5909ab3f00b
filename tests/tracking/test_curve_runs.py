"""A curve's run: found again, its steps are places along the curve, not a run of the pipeline."""

import pytest

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.tracking.store import open_store

ROWS = {"test": [{"beta": 0.1, "rate": 20.0}, {"beta": 1.0, "rate": 10.0, "nll": 90.0}]}


def log(project, rows, seed=0):
    provenance = project.provenance(curve={"method": "conditioned"}, seed=seed)
    with tracking.curve(provenance) as tracker:
        tracking.log_along(tracker, provenance, rows)
    return tracker.run_id


def points(run_id, key):
    history = open_store().client.get_metric_history(run_id, key)
    return {metric.step: metric.value for metric in history}


def test_each_number_is_a_function_of_the_place_along_the_curve(project):
    run_id = log(project, ROWS)
    assert points(run_id, "test/beta") == {0: 0.1, 1: 1.0}
    assert points(run_id, "test/rate") == {0: 20.0, 1: 10.0}
    assert points(run_id, "test/nll") == {1: 90.0}
    run = open_store().client.get_run(run_id)
    assert run.data.params["curve.method"] == "conditioned"
    assert run.info.run_name.startswith("digits curve conditioned ")


def test_the_same_curve_is_found_again(project):
    first = log(project, ROWS)
    assert log(project, ROWS) == first
    assert points(first, "test/rate") == {0: 20.0, 1: 10.0}
    assert log(project, ROWS, seed=1) != first


def test_a_curve_at_which_another_is_at_work_is_refused(project):
    provenance = project.provenance(curve={"method": "conditioned"})
    refused = pytest.raises(UserError, match=r"^stage curve: another process")
    with tracking.curve(provenance), refused, tracking.curve(provenance):
        pass
    log(project, ROWS)


def test_other_numbers_open_another_run(project):
    first = log(project, ROWS)
    second = log(project, {"test": [{"rate": 21.0}]})
    assert second != first
    assert points(second, "test/rate") == {0: 21.0}
    assert open_store().client.get_run(first).info.lifecycle_stage == "deleted"
    assert open_store().client.get_run(second).data.tags["state"] == "done"
    assert "curve.method" in open_store().client.get_run(second).data.params


def test_curves_are_listed_by_their_data_the_newest_first(project):
    found = [log(project, ROWS, seed) for seed in (0, 1)]
    with tracking.run(project.provenance(), "train"):
        pass
    curves = tracking.curves("d" * 64)
    assert [curve.run_id for curve in curves] == found[::-1]
    assert curves[0].params["curve.method"] == "conditioned"
    assert curves[0].params["seed"] == "1"
    assert curves[0].name.startswith("digits curve conditioned ")
    assert tracking.curves("e" * 64) == []


def test_a_file_of_a_curve_is_fetched(project, tmp_path):
    run_id = log(project, ROWS)
    target = tmp_path / "fetched"
    assert tracking.fetch_curve(run_id, "slider.npz", target) is None
    folder = tmp_path / "curve"
    folder.mkdir()
    (folder / "slider.npz").write_bytes(b"states")
    provenance = project.provenance(curve={"method": "conditioned"}, seed=0)
    with tracking.curve(provenance) as tracker:
        tracker.log_artifacts(folder, tracking.CURVE_FOLDER)
    found = tracking.fetch_curve(run_id, "slider.npz", target)
    assert found == target / "slider.npz"
    assert found.read_bytes() == b"states"
    assert tracking.fetch_curve(run_id, "other.npz", target) is None


def test_a_file_that_the_store_does_not_give_is_named(project, tmp_path, monkeypatch):
    run_id = log(project, ROWS)

    def fails(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr("vaebalance.tracking.queries._copy", fails)
    with pytest.raises(UserError, match=r"slider\.npz of .*the disk is gone.*dvc repro"):
        tracking.fetch_curve(run_id, "slider.npz", tmp_path)


def test_it_is_no_run_of_the_pipeline(project):
    log(project, ROWS)
    assert tracking.runs(stage="train") == []
    assert tracking.trials("d" * 64) == []
