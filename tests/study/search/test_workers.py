"""Several processes on one study: kills, stops and refusals lose and repeat nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from mlflow import MlflowClient

from tests.helpers import toy_study
from tests.helpers import toy_workers as toy
from vaebalance.base.errors import UserError
from vaebalance.study.command import run
from vaebalance.study.options import Options
from vaebalance.study.search.workers import listen, working
from vaebalance.study.storage import postgres_storage as database_storage
from vaebalance.study.storage.journal import Journal

ROOT = Path(__file__).parents[3]
TOY_TUNE = str(ROOT / "tests" / "helpers" / "toy_tune.py")
"""Started as a process of its own; importing it here would slow down other tests' validation."""


def spawn(folder, script=ROOT / "pipelines" / "tune.py"):
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        # A shell that starts the tests in the background makes them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def workers_of(process):
    """Return the worker processes of a process (without Python's resource tracker)."""
    return [
        child
        for child in psutil.Process(process.pid).children()
        if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline())
    ]


def running(journal):
    """Return the trials whose process is alive."""
    trials = journal.trials()
    left = journal.stale(trials)
    return [trial for trial in trials if trial.state == "running" and trial not in left]


def wait_until(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def runs_of(folder, study):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("vaebalance").experiment_id
    return client, client.search_runs([experiment], f"tags.`vaebalance.study` = '{study}'")


def test_kills_of_a_worker_and_of_the_parent_lose_nothing_and_run_nothing_twice(
    project, place, monkeypatch
):
    """Kill a worker, then the parent, whose other worker stops; then run the same command again.

    It continues in one process, with the same result as two.
    """
    study = "shared" if place is None else "shared_by_machines"
    asked = {
        "study": study,
        "storage": place or "null",
        "trials": "5",
        "epochs": "40",
        "sampler": "quasi_random",
    }
    folder = project(**asked, workers="2")
    process = spawn(folder, TOY_TUNE)
    journal = toy_study.open_journal(folder / "studies" / study, place)
    wait_until(lambda: len(running(journal)) == 2, process)
    victim = running(journal)[0]
    pid = int(victim.worker.split("-")[-2])
    assert pid in [child.pid for child in workers_of(process)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: journal.trials()[victim.number].worker != victim.worker, process)

    (left,) = workers_of(process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left.wait(timeout=240)
    assert place or running(journal) == []
    before = journal.trials()
    assert [trial.state for trial in before].count("running") == 1
    done = [trial for trial in before if trial.state == "finished"]

    monkeypatch.setattr(database_storage, "RHYTHM", toy_study.RHYTHM)
    project(**asked, workers="1")
    run(Options(list=False, promote=None))
    trials = journal.trials()
    assert [trial.number for trial in trials] == list(range(5))
    assert [trial.state for trial in trials] == ["finished"] * 5
    assert len({trial.point["balance.beta"] for trial in trials}) == 5
    assert [trials[trial.number] for trial in done] == done  # no finished trial ran again
    client, found = runs_of(folder, study)
    names = sorted(one.info.run_name for one in found)
    assert names == [study, *(f"trial {number}" for number in range(5))]
    assert {one.info.status for one in found} == {"FINISHED"}
    for one in found:
        if one.info.run_name != study:
            curve = client.get_metric_history(one.info.run_id, "epoch")
            epochs = trials[int(one.data.tags["vaebalance.trial"])].results["epochs"]
            assert [point.value for point in curve] == [*range(1, epochs + 1)]


def test_ctrl_c_stops_all_workers_and_marks_their_runs(project):
    folder = project(study="stopped_workers", trials="400", workers="2", epochs="30")
    process = spawn(folder)
    journal = Journal(folder / "studies" / "stopped_workers")
    wait_until(lambda: any(trial.state == "finished" for trial in journal.trials()), process)
    children = workers_of(process)
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=240)[0]
    assert process.returncode == 130, shown
    assert "stopped; no finished trial is lost" in shown
    assert "Traceback" not in shown
    assert len(children) == 2
    assert not any(child.is_running() for child in children)
    assert running(journal) == []
    statuses = {one.info.status for one in runs_of(folder, "stopped_workers")[1]}
    assert statuses <= {"FINISHED", "KILLED"}


def heard(work, folder, count=2):
    with working(count, work, folder) as workers:
        return [message for _, message in listen(workers)], workers


def test_the_parent_hears_what_the_workers_do_and_threads_are_divided(tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        messages, workers = heard(toy.speak_and_count_threads, tmp_path)
    finally:
        torch.set_num_threads(before)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["2", "2"]
    kinds = [message.kind for message in messages if message is not None]
    assert sorted(kinds) == ["ended", "ended", "started", "started"]
    assert messages.count(None) == 2
    assert [worker.process.exitcode for worker in workers] == [0, 0]


def test_what_a_worker_refuses_is_refused_and_the_others_stop(tmp_path):
    with pytest.raises(UserError, match="the toy is broken"):
        heard(toy.refuse, tmp_path)
    assert (tmp_path / "interrupted").exists()


def test_an_error_in_a_worker_is_an_error(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="its traceback is above"):
        heard(toy.fail, tmp_path, count=1)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_all_workers_killed_is_said(tmp_path):
    with pytest.raises(UserError, match=r"all workers ended before.*status -9; -9: killed"):
        heard(toy.die, tmp_path, count=1)
