"""A study whose trials train at once, with real trainings, files and MLflow store."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.toy_study import open_journal
from vaebalance.base.reports import EpochReport
from vaebalance.data import open_dataset
from vaebalance.run.training_run import Training
from vaebalance.settings import TrainSettings, load
from vaebalance.study.command import run
from vaebalance.study.options import Options
from vaebalance.study.storage.journal import Journal

ROOT = Path(__file__).parents[2]
RUN = Options(list=False, promote=None)
USUAL = {"objective": "{kind: negative_elbo}", "sampler": "quasi_random", "trials": "5"}


def study(project, name, **values):
    folder = project(study=name, **(USUAL | values))
    run(RUN)
    return Journal(folder / "studies" / name).trials()


def check_same(trials, expected):
    assert [(t.number, t.point, t.state) for t in trials] == [
        (t.number, t.point, t.state) for t in expected
    ]
    for trial, lone in zip(trials, expected, strict=True):
        if lone.values is not None:
            assert trial.values == pytest.approx(lone.values, rel=1e-4)
            assert trial.results["best_epoch"] == lone.results["best_epoch"]


@pytest.fixture(scope="module")
def lone():
    return {}


@pytest.fixture
def expected(project, lone):
    if not lone:
        lone["trials"] = study(project, "lone", together="1")
    return lone["trials"]


@pytest.mark.parametrize("together", ["auto", "3"])
def test_each_trial_is_what_it_is_alone(project, expected, together, capsys):
    check_same(study(project, f"by-{together}", together=together), expected)
    assert "trial 4" in capsys.readouterr().out


def test_a_database_has_what_the_file_has(project, expected, database):
    project(study="shared_groups", together="3", storage=database, **USUAL)
    run(RUN)
    journal = open_journal(Path("studies/shared_groups").resolve(), database)
    check_same(journal.trials(), expected)


def test_what_is_promoted_trains_to_what_it_was_in_its_group(project):
    trials = study(project, "promoted_group", together="5")
    run(Options(list=False, promote="best"))
    best = min(trials, key=lambda trial: trial.values)
    training = Training(load(TrainSettings), open_dataset(Path("data/prepared")))
    epochs = [report.epoch for report in training if isinstance(report, EpochReport)]
    assert len(epochs) == best.results["epochs"]
    assert training.best.epoch == best.results["best_epoch"]
    found = training.best.validation
    assert found.negative_elbo == pytest.approx(best.values[0], rel=1e-4)
    assert found.rate == pytest.approx(best.results["rate"], rel=1e-3)


def test_what_differs_in_shape_runs_and_is_said(project, capsys):
    trials = study(
        project,
        "shapes",
        together="3",
        trials="3",
        space="\n    model.latent_size: {choices: [2, 8]}",
    )
    assert [trial.state for trial in trials] == ["finished"] * 3
    assert capsys.readouterr().out.count("differ in shape") == 1


def test_halving_stops_some_and_the_others_end_as_alone(project, expected):
    trials = study(project, "halving", together="5", pruner="halving")
    assert {trial.state for trial in trials} == {"finished", "pruned"}
    for trial, lone in zip(trials, expected, strict=True):
        if trial.state == "finished":
            assert trial.values == pytest.approx(lone.values, rel=1e-4)


def test_killed_in_a_group_all_of_it_is_run_again(project, expected):
    folder = project(study="killed_together", together="3", **USUAL, epochs="3")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "pipelines" / "tune.py")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if line.startswith("trial "):  # the first trial that ended
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    check_same(study(project, "killed_together", together="3"), expected)
