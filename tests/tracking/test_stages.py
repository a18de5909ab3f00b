"""One run per pipeline state, whatever happens to stages, processes and stores."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.tracking.stages import _find_or_create
from vaebalance.tracking.store import open_store

TRAIN = """
import sys, time
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from vaebalance import tracking
from vaebalance.base.provenance import read_provenance
from vaebalance.tracking.points import read_curves

with tracking.run(read_provenance(Path("artifacts/model")), "train") as tracker:
    tracker.log_points(read_curves(Path("artifacts/history.csv"), Path("artifacts/timing.csv"))[:6])
    tracker.flush()
    print("half-way", flush=True)
    time.sleep(60)
"""


def go_through(project, provenance, epochs=3):
    """Run the three stages in order; return the last one's tracker."""
    with tracking.run(provenance, "train") as tracker:
        for record in project.records(epochs):
            tracker.log_epoch(record)
        project.write_training(provenance, epochs)
    with tracking.run(provenance, "evaluate") as tracker:
        project.write_evaluation()
    with tracking.run(provenance, "report") as tracker:
        project.write_report()
    return tracker


def train_and_raise(project, provenance, error):
    with tracking.run(provenance, "train") as tracker:
        tracker.log_epoch(project.records(1)[0])
        raise error


def all_runs(view=ViewType.ACTIVE_ONLY):
    store = open_store()
    return store.client.search_runs([store.experiment_id], run_view_type=view)


def state(run_id):
    """Collect everything visible of a run except when it ended."""
    client = open_store().client
    run = client.get_run(run_id)
    curves = {
        key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, key)]
        for key in run.data.metrics
    }
    return run.data.params, run.data.tags, curves, artifacts(client, run_id), models(run_id)


def artifacts(client, run_id, path=None):
    found = []
    for file in client.list_artifacts(run_id, path):
        found += artifacts(client, run_id, file.path) if file.is_dir else [file.path]
    return sorted(found)


def models(run_id):
    store = open_store()
    found = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
    return [(model.model_id, str(model.status)) for model in found]


@pytest.fixture(scope="module")
def finished(shared_project):
    """Make a run that went through all stages, each inside its own block."""
    return go_through(shared_project, shared_project.provenance())


def test_the_three_stages_share_one_run(shared_project, finished):
    (run,) = all_runs()
    assert run.info.run_id == finished.run_id
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("digits alpha=1 beta=1 bernoulli fixed ")
    assert {run.data.tags[f"stage.{name}"] for name in ("train", "evaluate", "report")} == {"done"}


def test_the_run_shows_settings_data_and_whence(shared_project, finished):
    provenance = shared_project.provenance()
    run = open_store().client.get_run(finished.run_id)
    assert run.data.params["model.latent_size"] == "3"
    assert run.data.params["model.architecture.hidden"] == "[32]"
    assert run.data.params["balance.beta"] == "1.0"
    assert run.data.tags["vaebalance.fingerprint"] == provenance.fingerprint
    assert run.data.tags["vaebalance.dataset_digest"] == "d" * 64
    assert run.data.tags["vaebalance.code_digest"] == "c" * 64
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", "d" * 36)
    assert '"image_shape": [1, 8, 8]' in dataset.dataset.profile


def test_the_run_has_what_the_stages_wrote(finished):
    _, _, curves, files, logged = state(finished.run_id)
    assert {"train/distortion", "train/rate", "seconds", "images_per_second"} <= set(curves)
    assert [value for _, value, _ in curves["test/rate"]] == [20.25]
    assert [value for _, value, _ in curves["model/best_epoch"]] == [3.0]
    assert [value for _, value, _ in curves["latents/active"]] == [3.0]
    assert not {"test/psnr", "settings/nll_samples"} & set(curves)
    assert files == [
        "evaluation/rate_by_latent.csv",
        "history.csv",
        "metrics/evaluation.json",
        "metrics/train.json",
        "provenance.json",
        "report/index.html",
        "timing.csv",
    ]
    assert [status for _, status in logged] == ["READY"]


def test_running_stages_again_adds_nothing(shared_project, finished):
    before = state(finished.run_id)
    again = go_through(shared_project, shared_project.provenance())
    assert again.run_id == finished.run_id
    assert state(finished.run_id) == before
    assert len(all_runs(ViewType.ALL)) == 1


def test_a_lost_store_is_filled_by_whichever_stage_runs_next(
    shared_project, finished, fresh_database
):
    _, tags, curves, files, _ = state(finished.run_id)
    shutil.copy(fresh_database, shared_project.root / "mlflow.db")
    with tracking.run(shared_project.provenance(), "report") as tracker:
        pass
    _, tags_now, curves_now, files_now, logged = state(tracker.run_id)
    assert tracker.run_id != finished.run_id
    finals = {"test/rate", "test/distortion", "latents/active", "model/epochs", "model/best_epoch"}
    for key in curves:  # to the millisecond; final numbers are of now
        assert key in finals or curves_now[key] == curves[key]
    assert set(curves_now) == set(curves)
    assert files_now == files
    assert [status for _, status in logged] == ["READY"]
    assert tags_now == tags  # fingerprint, digests, stages done
    assert len(all_runs()) == 1


def test_files_of_another_pipeline_state_stay_out(project):
    go_through(project, project.provenance())
    other = project.provenance(beta=4.0)
    with tracking.run(other, "train") as tracker:  # the old model is still on disk
        pass
    assert state(tracker.run_id)[2:] == ({}, [], [])
    with tracking.run(other, "train") as tracker:  # the old evaluation is still on disk
        project.write_training(other)
    _, _, curves, files, _ = state(tracker.run_id)
    assert "train/rate" in curves
    assert not any(name.startswith("test/") for name in curves)
    assert files == ["history.csv", "metrics/train.json", "provenance.json", "timing.csv"]
    assert len(all_runs()) == 2


def test_a_failure_is_shown_and_forgotten_when_mended(project):
    provenance = project.provenance()
    with pytest.raises(ZeroDivisionError):
        train_and_raise(project, provenance, ZeroDivisionError("by nought"))
    (run,) = all_runs()
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == "ZeroDivisionError: by nought"
    assert run.data.tags["stage.train"] == "failed"
    assert run.data.metrics["epoch"] == 1.0  # what was known is kept
    with pytest.raises(KeyboardInterrupt):
        train_and_raise(project, provenance, KeyboardInterrupt())
    assert all_runs()[0].info.status == "KILLED"
    with tracking.run(provenance, "train"):
        assert all_runs()[0].info.status == "RUNNING"
    (run,) = all_runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["stage.train"] == "done"
    assert "failure" not in run.data.tags


def test_a_killed_process_leaves_a_run_that_goes_on(project):
    provenance = project.provenance()
    project.write_training(provenance)
    process = subprocess.Popen([sys.executable, "-c", TRAIN], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (half,) = all_runs()
    assert (half.info.status, half.data.metrics["epoch"]) == ("RUNNING", 1.0)
    with tracking.run(provenance, "train") as tracker:
        pass
    assert tracker.run_id == half.info.run_id
    curves = state(tracker.run_id)[2]
    assert [step for step, _, _ in curves["train/rate"]] == [10, 20, 30]
    assert all_runs()[0].info.status == "FINISHED"


AT_WORK = """
import json, sys
from vaebalance import tracking
from vaebalance.base.provenance import Provenance

with tracking.run(Provenance(**json.loads(sys.argv[1])), sys.argv[2]):
    print("at work", flush=True)
    sys.stdin.read()
"""


def at_work(provenance, stage):
    """Start another process in a stage of `provenance`, until it is killed or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, json.dumps(asdict(provenance)), stage],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize("stage", ["train", "evaluate", "report"])
def test_a_state_at_which_another_process_works_is_refused(project, monkeypatch, stage):
    """Try from another folder, too; the run stays untouched. A dead process holds no lock."""
    provenance = project.provenance()
    with at_work(provenance, "train") as other:
        copy = project.root / ".dvc/tmp/exps/copy"
        copy.mkdir(parents=True)
        monkeypatch.chdir(copy)
        message = rf"^stage {stage}: another process \(pid {other.pid} on .*, stage train\)"
        with pytest.raises(UserError, match=message), tracking.run(provenance, stage):
            pass
        assert all_runs()[0].info.status == "RUNNING"
        with tracking.run(project.provenance(beta=4.0), stage):
            pass
        other.kill()
        other.wait()
    with tracking.run(provenance, stage):
        pass
    assert {run.info.status for run in all_runs()} == {"FINISHED"}
    assert list(project.root.glob("mlflow.db.*.lock")) == []


def test_a_model_half_logged_by_a_killed_process_is_replaced(project):
    provenance = project.provenance()
    with tracking.run(provenance, "train") as tracker:
        project.write_training(provenance)
        store = tracker.store
        store.client.create_logged_model(
            store.experiment_id, name="model", source_run_id=tracker.run_id
        )
    assert [status for _, status in models(tracker.run_id)] == ["READY"]


def test_a_retraining_that_differs_takes_the_runs_place(project):
    provenance = project.provenance()
    old = go_through(project, provenance).run_id
    with tracking.run(provenance, "train") as tracker:
        for record in project.records(3, scale=1.01):
            tracker.log_epoch(record)
        project.write_training(provenance, scale=1.01)
    (run,) = all_runs()
    assert run.info.run_id == tracker.run_id != old
    assert run.info.status == "FINISHED"
    assert run.data.tags["stage.train"] == "done"
    expected = [r.metrics()["train/rate"] for r in project.records(3, scale=1.01)]
    curves = state(tracker.run_id)[2]
    assert [value for _, value, _ in curves["train/rate"]] == pytest.approx(expected)
    assert [status for _, status in models(tracker.run_id)] == ["READY"]
    assert models(old) == []
    assert len(all_runs(ViewType.ALL)) == 2  # the old one is in the trash


def test_the_commit_is_of_the_repository_and_absent_outside_one(project, monkeypatch):
    with tracking.run(project.provenance(), "train") as tracker:
        pass
    assert "mlflow.source.git.commit" not in state(tracker.run_id)[1]

    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", "-C", str(project.root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (project.root / "params.yaml").write_text("beta: 1\n")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "first")
    copy = project.root / ".dvc/tmp/exps/copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_EXP_NAME", "brown-newt")
    for beta, dirty in ((2.0, "false"), (3.0, "true")):
        with tracking.run(project.provenance(beta=beta), "train") as tracker:
            pass
        tags = state(tracker.run_id)[1]
        assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
        assert tags["mlflow.source.git.dirty"] == dirty
        assert tags["DVC_EXP_NAME"] == "brown-newt"
        (project.root / "params.yaml").write_text("beta: 3\n")


def test_work_in_a_copy_of_the_repository_lands_in_the_one_store(project, monkeypatch):
    provenance = project.provenance()
    copy = project.root / ".dvc/tmp/exps/copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with tracking.run(provenance, "train"):
        project.write_training(provenance, folder=copy)
    assert not (copy / "mlflow.db").exists()
    (run,) = all_runs()
    assert run.data.metrics["epoch"] == 3.0


def test_a_long_parameter_does_not_stop_the_run(project):
    provenance = project.provenance(train={"note": "x" * 20_000})
    with tracking.run(provenance, "train") as tracker:
        project.write_training(provenance)
    run = open_store().client.get_run(tracker.run_id)
    assert run.data.params["train.note"].startswith("xxx")
    copy = Path(open_store().client.download_artifacts(tracker.run_id, "provenance.json"))
    assert "x" * 20_000 in copy.read_text()


def test_workers_that_look_at_once_find_or_make_one_run(project, monkeypatch):
    search = MlflowClient.search_runs

    def search_slowly(*arguments, **more):
        found = search(*arguments, **more)
        time.sleep(0.2)  # in which another worker would make the run, too
        return found

    def work(_):
        return _find_or_create(open_store(), project.provenance()).info.run_id

    open_store()
    monkeypatch.setattr(MlflowClient, "search_runs", search_slowly)
    with ThreadPoolExecutor(3) as workers:
        assert len(set(workers.map(work, range(3)))) == 1


def test_an_unknown_stage_is_refused(project):
    context = tracking.run(project.provenance(), "trian")
    with pytest.raises(UserError, match=r"'trian'.*train, evaluate, report"), context:
        pass


def test_other_runs_are_read_as_plain_data(project):
    assert tracking.runs() == []
    for beta in (1.0, 4.0):
        go_through(project, project.provenance(beta=beta))
    with tracking.run(project.provenance(beta=9.0), "train"):
        pass
    newest, oldest = tracking.runs()
    assert (newest.params["balance.beta"], oldest.params["balance.beta"]) == ("4.0", "1.0")
    assert newest.metrics["test/rate"] == 20.25
    assert newest.fingerprint == project.provenance(beta=4.0).fingerprint
    assert len(tracking.runs(dataset_digest="d" * 64)) == 2
    assert tracking.runs(dataset_digest="e" * 64) == []
    assert len(tracking.runs(limit=1)) == 1
