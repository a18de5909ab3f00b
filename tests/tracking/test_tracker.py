"""Points arrive completely and once; a slow store delays nothing, a broken one raises."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import chain
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from vaebalance import tracking
from vaebalance.base.verdicts import Verdict
from vaebalance.tracking.tracker import Buffer, digest_files


def curve(tracker, key):
    history = tracker.store.client.get_metric_history(tracker.run_id, key)
    return [(metric.step, metric.value, metric.timestamp) for metric in history]


def test_every_point_of_an_epoch_is_exact(project):
    records = project.records(4)
    with tracking.run(project.provenance(), "train") as tracker:
        for record in records:
            tracker.log_epoch(record)
    for key in records[0].metrics():
        expected = [(record.step, record.metrics()[key], record.finished_at) for record in records]
        assert curve(tracker, key) == expected
    assert curve(tracker, "epoch") == [(r.step, float(r.epoch), r.finished_at) for r in records]
    assert [value for _, value, _ in curve(tracker, "images_per_second")] == [2000.0] * 4
    assert [value for _, value, _ in curve(tracker, "seconds")] == [0.5] * 4


def test_epochs_trained_again_after_a_kill_add_nothing(project):
    for epochs, delay in ((2, 0), (4, 60_000)):
        with tracking.run(project.provenance(), "train") as tracker:
            for record in project.records(epochs, delay=delay):
                tracker.log_epoch(record)
    early, late = project.records(2), project.records(4, delay=60_000)[2:]
    assert [(step, time) for step, _, time in curve(tracker, "train/rate")] == [
        (record.step, record.finished_at) for record in early + late
    ]


ANOTHER = """
import sys
from vaebalance.tracking.points import Point
from vaebalance.tracking.store import open_store
from vaebalance.tracking.tracker import Tracker

store = open_store()
tracker = Tracker(store, store.client.get_run(sys.argv[1]))
for epoch in (1, 2, 3):
    values = {"epoch": epoch, "train/distortion": 100 / epoch, "train/rate": 101 / epoch}
    tracker.log_points([Point(key, value, 10 * epoch, 7) for key, value in values.items()])
tracker.log_metrics({"test/rate": 20.0})
"""


def test_what_another_process_has_logged_meanwhile_is_not_logged_again(project, monkeypatch):
    """Use two processes without a common lock, such as on two machines that share a server."""
    monkeypatch.setattr("vaebalance.tracking.tracker.FLUSH_SECONDS", 0.0)
    records = project.records(4)
    with tracking.run(project.provenance(), "train") as tracker:
        tracker.log_epoch(records[0])
        tracker.flush()
        subprocess.run([sys.executable, "-c", ANOTHER, tracker.run_id], check=True)
        for record in records[1:]:
            tracker.log_epoch(record)
        tracker.log_metrics({"test/rate": 20.0})
    for key in ("epoch", "train/distortion", "train/rate", "learning_rate"):
        assert sorted(step for step, *_ in curve(tracker, key)) == [10, 20, 30, 40], key
    assert [value for _, value, _ in curve(tracker, "test/rate")] == [20.0]


def test_a_store_that_hangs_does_not_hold_up_the_training(project, monkeypatch):
    sent, gate = [], threading.Event()

    def hang(client, run_id, metrics=(), params=(), tags=(), synchronous=None):
        if metrics:
            assert gate.wait(60)
            sent.append(len(metrics))

    with tracking.run(project.provenance(), "train") as tracker:
        monkeypatch.setattr(MlflowClient, "log_batch", hang)
        for record in project.records(300):
            tracker.log_epoch(record)
        assert sent == []  # 300 epochs are over, and the first is still on its way
        gate.set()
    points = 300 * len(project.records(1)[0].metrics() | {"epoch": 0, "seconds": 0, "speed": 0})
    assert sum(sent) == points
    assert max(sent) <= 1000  # MLflow's limit


def test_a_broken_store_is_heard_during_the_training(project, monkeypatch):
    def broken(*_, metrics=(), **__):
        if metrics:
            raise MlflowException("no space left")

    trained = []

    def train():
        with tracking.run(project.provenance(), "train") as tracker:
            monkeypatch.setattr(MlflowClient, "log_batch", broken)
            for record in project.records(1000):
                tracker.log_epoch(record)
                trained.append(record.epoch)
                time.sleep(0.005)

    with pytest.raises(MlflowException, match="no space left"):
        train()
    assert len(trained) < 1000


def test_a_buffer_sends_one_batch_at_a_time_and_keeps_the_order():
    batches, running, gate = [], threading.Semaphore(), threading.Event()

    def send(points):
        assert running.acquire(blocking=False)
        gate.wait(5)
        batches.append(list(points))
        running.release()

    buffer = Buffer(send)
    for point in range(100):
        buffer.add([point])
    assert batches == []
    gate.set()
    buffer.flush()
    assert list(chain.from_iterable(batches)) == list(range(100))
    assert len(batches) == 2  # the first alone, then all that had come meanwhile


def test_final_metrics_are_told_once(project):
    with tracking.run(project.provenance(), "evaluate") as tracker:
        for rate in (20.0, 20.0, 21.0, 21.0):
            tracker.log_metrics({"test/rate": rate, "test/psnr": None})
    assert [value for _, value, _ in curve(tracker, "test/rate")] == [20.0, 21.0]
    run = tracker.store.client.get_run(tracker.run_id)
    assert run.data.metrics == {"test/rate": 21.0}


def test_artifacts_are_copied_when_they_changed_or_are_gone(project, monkeypatch):
    copies = []
    original = MlflowClient.log_artifacts
    monkeypatch.setattr(
        MlflowClient, "log_artifacts", lambda *args: (copies.append(args[-1]), original(*args))
    )
    project.write_report()
    page = project.root / "artifacts/report/index.html"
    with tracking.run(project.provenance(), "report") as tracker:
        client, run_id = tracker.store.client, tracker.run_id
        for _ in range(2):
            tracker.log_artifacts(page.parent, "report")
        assert len(copies) == 1
        page.write_text("<h1>Another</h1>")
        tracker.log_artifacts(page.parent, "report")
        assert len(copies) == 2
        copied = client.download_artifacts(run_id, "report/index.html")
        assert Path(copied).read_text() == "<h1>Another</h1>"
        client._tracking_client._get_artifact_repo(run_id).delete_artifacts("report")
        tracker.log_artifacts(page.parent, "report")
        assert len(copies) == 3


def test_a_digest_sees_names_and_contents(tmp_path):
    digests = set()
    for name, text in (("a", "1"), ("a", "2"), ("b", "2")):
        folder = tmp_path / f"{name}{text}" / "folder"
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
        digests.add(digest_files(folder))
        again = tmp_path / f"again{name}{text}" / "folder"
        again.mkdir(parents=True)
        (again / name).write_text(text)
        digests.add(digest_files(again))
    assert len(digests) == 3


COLLAPSED = Verdict("collapsed", "8 of 8 latents.", "Lower balance.beta.", 3)


def told(tracker):
    tags = tracker.store.client.get_run(tracker.run_id).data.tags
    return tags.get("verdict"), tags.get("mlflow.note.content")


def test_verdicts_are_a_tag_and_the_runs_description(project):
    with tracking.run(project.provenance(), "train") as tracker:
        tracker.log_verdicts([], so_far=True)
        assert told(tracker) == (None, None)  # not healthy yet
        tracker.log_verdicts([COLLAPSED], so_far=True)
        verdict, note = told(tracker)
        assert verdict == "collapsed"
        assert note == "Verdict so far: **collapsed**: 8 of 8 latents. Lower balance.beta."
        tracker.log_verdicts([])
        assert told(tracker) == ("healthy", "Verdict: healthy")


def test_a_stage_mirrors_the_verdicts_on_disk(project):
    provenance = project.provenance()
    project.write_training(provenance)
    path = project.root / "artifacts/verdicts.json"
    path.write_text('[{"name": "collapsed", "evidence": "All.", "remedy": "Lower it."}]')
    with tracking.run(provenance, "evaluate") as tracker:
        pass
    assert told(tracker) == ("collapsed", "Verdict: **collapsed**: All. Lower it.")
