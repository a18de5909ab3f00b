"""The whole study, with real trainings, files and MLflow store."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from vaebalance.base.errors import UserError
from vaebalance.base.reports import EpochReport
from vaebalance.data import open_dataset
from vaebalance.objectives.frontier import hypervolume
from vaebalance.run.training_run import Training, provenance_of
from vaebalance.settings import PARAMS, Settings, TrainSettings, load
from vaebalance.study.command import run
from vaebalance.study.options import Options
from vaebalance.study.results.choice import front
from vaebalance.study.search.trial import Evaluator
from vaebalance.study.storage.file_storage import FILE
from vaebalance.study.storage.journal import Journal
from vaebalance.tracking.registry import read_promotion

ROOT = Path(__file__).parents[2]
BETA = "balance.beta"
RUN = Options(list=False, promote=None)
LIST = Options(list=True, promote=None)
BEST = Options(list=False, promote="best")


def spawn(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "pipelines" / "tune.py"), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell that starts the tests in the background makes them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("".join(lines))


def trials_of(folder, study):
    return Journal(folder / "studies" / study).trials()


def pairs(trials):
    return [(trial.number, trial.point, trial.values) for trial in trials]


def runs_of(folder, study):
    """Return the study's run, and its trials' runs by name."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("vaebalance")
    found = client.search_runs(
        [experiment.experiment_id], f"tags.`vaebalance.study` = '{study}'", max_results=1000
    )
    parents = [run for run in found if run.info.run_name == study]
    assert len(parents) == 1
    return parents[0], sorted(
        (run for run in found if run.info.run_id != parents[0].info.run_id),
        key=lambda run: int(run.data.tags["vaebalance.trial"]),
    )


def curve(folder, run, key):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]


@pytest.fixture(scope="module")
def whole(made_project):
    """Run a study once, for all tests that need a finished one."""
    done = []

    def study(project):
        folder = project(study="whole", objective="{kind: negative_elbo}")
        if not done:
            run(RUN)
            done.append(True)
        return folder

    return study


def test_a_study_leaves_trials_table_figures_and_runs(project, whole, capsys):
    folder = whole(project)
    trials = trials_of(folder, "whole")
    assert [trial.state for trial in trials] == ["finished"] * 4
    assert trials[0].point == {BETA: 1.0}
    assert all(
        trial.values == pytest.approx((trial.results["distortion"] + trial.results["rate"],))
        for trial in trials
    )
    with (folder / "studies" / "whole" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row[BETA]) for row in rows] == [trial.point[BETA] for trial in trials]
    assert [(float(row["negative_elbo"]),) for row in rows] == [trial.values for trial in trials]
    figures = folder / "studies" / "whole" / "figures"
    with (folder / "studies" / "whole" / "frontier.csv").open(newline="") as file:
        edge = [int(row["trial"]) for row in csv.DictReader(file)]
    assert edge == [trial.number for trial in front(trials)]
    names = {"frontier", "history", "slices"}
    assert {path.name for path in figures.iterdir()} == {
        f"{name}{end}" for name in names for end in (".png", ".vl.json")
    } | {"all.html"}
    for name in names:
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    parent, nested = runs_of(folder, "whole")
    best = min(trials, key=lambda trial: trial.values)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best/negative_elbo"] == best.values[0]
    assert parent.data.metrics["best/beta"] == best.point[BETA]
    assert parent.data.metrics["best/trial"] == best.number
    assert parent.data.metrics["trials/finished"] == 4
    assert parent.data.params["train.epochs"] == "3"
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert artifacts >= {"trials.csv", "frontier.csv", "figures"}
    drawn = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert "figures/frontier.vl.json" in drawn
    assert len(nested) == 4
    for trial, logged in zip(trials, nested, strict=True):
        assert logged.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert float(logged.data.params[BETA]) == trial.point[BETA]
        assert logged.data.metrics["final/validation/negative_elbo"] == trial.values[0]
        assert logged.data.metrics["objective/negative_elbo"] == trial.values[0]
        assert len(curve(folder, logged, "train/distortion")) == 3


def test_each_trial_has_a_picture_in_both_places_and_named_numbers(project, whole):
    """Read them as Optuna's dashboard and MLflow do."""
    folder = whole(project)
    study = optuna.load_study(study_name="whole", storage=optuna_storage(folder, "whole"))
    assert study.metric_names == ["validation D + R (α = β = 1), nats per image"]
    kept = FileSystemArtifactStore(folder / "studies" / "whole" / "artifacts")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    _, nested = runs_of(folder, "whole")
    pictures = []
    for trial, logged in zip(study.trials, nested, strict=True):
        (meta,) = get_all_artifact_meta(trial, storage=study._storage)
        assert (meta.filename, meta.mimetype) == ("reconstructions.png", "image/png")
        with kept.open_reader(meta.artifact_id) as file:
            pictures.append(file.read())
        found = client.download_artifacts(logged.info.run_id, "reconstructions.png")
        assert Path(found).read_bytes() == pictures[-1]
    assert len(set(pictures)) == len(pictures)
    files = (folder / "studies" / "whole" / "artifacts").iterdir()
    assert len(list(files)) == len(pictures)


def optuna_storage(folder, study):
    return JournalStorage(JournalFileBackend(str(folder / "studies" / study / FILE)))


def test_a_study_that_has_enough_says_so_and_shows_them(project, whole, capsys):
    folder = whole(project)
    before = (folder / "studies" / "whole" / FILE).read_bytes()
    run(RUN)
    shown = capsys.readouterr().out
    assert "the study 'whole' has its 4 trials; raise tune.trials for more" in shown
    assert "★ best" in shown
    assert "4 finished, of 4 wanted; best: trial " in shown
    assert (folder / "studies" / "whole" / FILE).read_bytes() == before
    parent, nested = runs_of(folder, "whole")
    assert len(nested) == 4
    assert len(curve(folder, parent, "best/negative_elbo")) == 1


def test_listing_runs_nothing(project, whole, capsys):
    folder = whole(project)
    project(study="whole", trials="9", space="{balance.alpha: {low: 1, high: 2}}")
    run(LIST)
    shown = capsys.readouterr().out
    header = next(line for line in shown.splitlines() if line.startswith("┃"))
    assert header.replace("┃", " ").split()[:4] == ["trial", "β", "D", "R"]
    assert "4 finished, of 9 wanted" in shown
    assert len(trials_of(folder, "whole")) == 4


def test_a_study_that_is_not_there_is_named_with_those_that_are(project, whole):
    whole(project)
    project(study="other")
    for options in (LIST, BEST):
        with pytest.raises(UserError, match=r"no such study.*\(there: .*whole.*begin it"):
            run(options)


def test_other_settings_are_refused_for_running_and_promoting(project, whole):
    folder = whole(project)
    project(study="whole", objective="{kind: negative_elbo}", latent_size="3")
    before = (folder / PARAMS).read_bytes()
    for options in (RUN, BEST):
        with pytest.raises(UserError, match=r"model\.latent_size: 8 in the study, 3 now"):
            run(options)
    assert (folder / PARAMS).read_bytes() == before
    assert len(trials_of(folder, "whole")) == 4


@pytest.mark.parametrize("choice", ["best", 2])
def test_a_promoted_weight_trains_to_the_trials_number_bit_for_bit(project, whole, capsys, choice):
    folder = whole(project)
    before = (folder / PARAMS).read_text("utf-8").splitlines()
    run(Options(list=False, promote=choice))
    shown = capsys.readouterr().out
    after = (folder / PARAMS).read_text("utf-8").splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) <= 1
    for a, b in changed:
        assert f"-{a}\n" in shown
        assert f"+{b}\n" in shown
    trials = trials_of(folder, "whole")
    best = min(trials, key=lambda trial: trial.values)
    trial = best if choice == "best" else trials[choice]
    assert f"trial {trial.number}: β = {trial.point[BETA]:g}" in shown
    noted = Journal(folder / "studies" / "whole").notes["promoted"]
    assert (noted["trial"], noted[BETA]) == (trial.number, trial.point[BETA])
    promotion = read_promotion(folder)
    assert (promotion.study, promotion.trial) == ("whole", trial.number)
    assert promotion.values == {"negative_elbo": trial.values[0]}
    assert promotion.why in shown
    assert f"trial {trial.number}: β = " in promotion.why
    prepared = open_dataset(Path("data/prepared"))
    assert promotion.is_of(provenance_of(load(TrainSettings), prepared))

    training = Training(load(TrainSettings), open_dataset(Path("data/prepared")))
    assert [report.epoch for report in training if isinstance(report, EpochReport)] == [1, 2, 3]
    assert training.best.validation.negative_elbo == trial.values[0]
    assert training.best.validation.rate == trial.results["rate"]


def test_after_promotion_the_study_goes_on(project, whole):
    folder = whole(project)
    run(BEST)
    text = (folder / PARAMS).read_text("utf-8")
    (folder / PARAMS).write_text(text.replace("trials: 4", "trials: 5"), "utf-8")
    run(RUN)
    trials = trials_of(folder, "whole")
    assert len(trials) == 5
    assert trials[0].point == {BETA: 1.0}
    parent, nested = runs_of(folder, "whole")
    assert len(nested) == 5
    assert parent.data.params["tune.space.balance.beta.low"] == "0.01"


def test_sigkill_in_a_training_then_again_ends_as_never_killed(project):
    folder = project(study="unhurt", max_images="140", epochs="4", trials="3")
    run(RUN)
    project(study="killed", max_images="140", epochs="4", trials="3")
    process = spawn(folder)
    wait_for(process, "trial 1:")
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    run(RUN)
    trials = trials_of(folder, "killed")
    assert pairs(trials) == pairs(trials_of(folder, "unhurt"))
    runs = {study: runs_of(folder, study)[1] for study in ("killed", "unhurt")}
    assert len(runs["killed"]) == 3
    for killed, unhurt in zip(runs["killed"], runs["unhurt"], strict=True):
        for key in ("validation/negative_elbo", "train/rate"):
            assert curve(folder, killed, key) == curve(folder, unhurt, key)
            assert len(curve(folder, killed, key)) == 4


def test_ctrl_c_says_what_is_finished_and_how_to_go_on(project):
    folder = project(study="stopped", trials="400")
    process = spawn(folder)
    wait_for(process, "trial 1:")
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "of 400 wanted; best: trial " in shown
    assert "stopped; no finished trial is lost. Go on with `vaebalance study`." in shown
    assert "Traceback" not in shown
    finished = [t for t in trials_of(folder, "stopped") if t.state == "finished"]
    assert len(finished) >= 2
    assert len(runs_of(folder, "stopped")[1]) - len(finished) in (0, 1)
    assert (folder / "studies" / "stopped" / "trials.csv").exists()


def test_a_diverging_training_is_recorded_and_the_study_goes_on(project, monkeypatch, capsys):
    folder = project(study="diverged", trials="2")
    spoilt = []

    class Spoilt(Training):
        def __init__(self, settings, *rest):
            super().__init__(settings, *rest)
            if settings.balance.beta != 1.0 and not spoilt:
                spoilt.append(settings.balance.beta)
                self.learner.optimizer.param_groups[0]["lr"] = 1e30

    monkeypatch.setattr("vaebalance.study.search.trial.Training", Spoilt)
    run(RUN)
    trials = trials_of(folder, "diverged")
    assert [trial.state for trial in trials] == ["finished", "diverged", "finished"]
    assert trials[1].point == {BETA: spoilt[0]}
    assert "is NaN or infinite at epoch 1" in trials[1].results["reason"]
    assert f"diverged ({trials[1].results['reason']})" in capsys.readouterr().out
    _, nested = runs_of(folder, "diverged")
    assert [run.info.status for run in nested] == ["FINISHED", "FAILED", "FINISHED"]
    assert "NaN" in nested[1].data.tags["failure"]


def test_the_weighted_loss_is_refused_with_its_reason(project):
    project(objective="{kind: weighted_loss}")
    with pytest.raises(UserError, match=r"tune\.objective.*always picks the end of the range"):
        run(RUN)


def test_alpha_is_searched_likewise(project):
    space = "{balance.alpha: {low: 0.05, high: 20.0, log: true}}"
    folder = project(study="alpha", space=space, trials="2", sampler="quasi_random")
    run(RUN)
    assert [trial.state for trial in trials_of(folder, "alpha")] == ["finished", "finished"]
    run(BEST)
    assert load(TrainSettings).balance.beta == 1.0
    weights = [trial.point["balance.alpha"] for trial in trials_of(folder, "alpha")]
    assert load(TrainSettings).balance.alpha in weights


def test_promoting_says_with_how_many_threads_where_the_rule_has_others(
    project, three_threads, monkeypatch, capsys
):
    """A small network has one thread by the rule, or the number that the user set."""
    for name, said, expected, command in (
        ("ruled", None, 1, "`dvc repro`"),
        ("said", "3", 3, "`OMP_NUM_THREADS=3 dvc repro`"),
    ):
        project(study=name, sampler="quasi_random", trials="1", epochs="1")
        with monkeypatch.context() as patch:
            if said is not None:
                patch.setenv("OMP_NUM_THREADS", said)
            run(RUN)
        (trial,) = trials_of(Path(), name)
        assert trial.results["threads"] == expected
        run(BEST)
        assert f"Train with it: {command}" in capsys.readouterr().out


def test_several_knobs_by_nll_are_promoted_bit_for_bit(project, capsys):
    """Search a weight, a size, a rate and a kind, and measure the objective again."""
    space = (
        "{balance.beta: {low: 0.1, high: 4, log: true}, model.latent_size: {low: 2, high: 9}, "
        "train.learning_rate: {low: 0.001, high: 0.01, log: true}, "
        "likelihood.kind: {choices: [bernoulli, gaussian_learned]}}"
    )
    folder = project(study="several", space=space, trials="5", sampler="quasi_random")
    run(RUN)
    figures = {path.name for path in (folder / "studies" / "several" / "figures").iterdir()}
    assert "importance.png" in figures
    trials = trials_of(folder, "several")
    assert {trial.point["likelihood.kind"] for trial in trials} == {"bernoulli", "gaussian_learned"}
    trial = next(t for t in trials if t.point["likelihood.kind"] == "gaussian_learned")
    run(Options(list=False, promote=trial.number))
    settings = load(Settings)
    training = Training(load(TrainSettings), open_dataset(Path("data/prepared")))
    list(training)
    dataset = open_dataset(Path("data/prepared"))
    asked = Evaluator(settings.tune.objective, dataset, settings.evaluate, settings.seed)
    outcome = asked.outcome(training)
    assert outcome.values == trial.values
    assert {**outcome.results, "seconds": trial.results["seconds"]} == trial.results
    assert settings.model.latent_size == trial.point["model.latent_size"]


def test_a_frontier_is_found_drawn_and_promoted(project, capsys):
    folder = project(
        study="frontier",
        objective="{kind: frontier}",
        trials="5",
        epochs="40",
        learning_rate="0.01",
    )
    run(RUN)
    trials = trials_of(folder, "frontier")
    assert [t.values for t in trials] == [
        (t.results["distortion"], t.results["rate"]) for t in trials
    ]
    assert {t.point[BETA] for t in trials} >= {0.01, 10.0, 1.0}
    parent, _ = runs_of(folder, "frontier")
    found = parent.data.metrics
    reference = (found["frontier/reference_distortion"], found["frontier/reference_rate"])
    assert reference[1] == 100
    assert found["frontier/hypervolume"] == hypervolume([t.values for t in trials], reference) > 0
    with pytest.raises(UserError, match="no best point"):
        run(BEST)
    number = min(trials, key=lambda t: t.values[0]).number
    run(Options(list=False, promote=number))
    assert promoted_values() == trials[number].values
    run(Options(list=False, promote="knee"))
    knee = read_promotion(folder).trial
    assert 0 < trials[knee].results["rate"] < trials[number].results["rate"]
    assert promoted_values() == trials[knee].values
    run(Options(list=False, promote=number))
    assert "hypervolume" in capsys.readouterr().out
    assert load(TrainSettings).balance.beta == trials[number].point[BETA]


def test_pruned_trials_are_stopped_and_the_others_are_as_without(project, capsys):
    asked = {"objective": "{kind: negative_elbo}", "sampler": "quasi_random", "epochs": "4"}
    folder = project(study="unpruned", **asked)
    run(RUN)
    project(study="pruned", pruner="halving", **asked)
    capsys.readouterr()
    run(RUN)
    said = capsys.readouterr().out
    without = {trial.number: trial for trial in trials_of(folder, "unpruned")}
    stopped = []
    for trial in trials_of(folder, "pruned"):
        assert trial.point == without[trial.number].point
        if trial.state == "pruned":
            stopped.append(trial.number)
            assert f"pruned after epoch {max(trial.rungs)}" in said
        else:
            assert trial.values == without[trial.number].values
    assert stopped
    assert f"{4 - len(stopped)} finished, {len(stopped)} stopped early" in said
    _, runs = runs_of(folder, "pruned")
    assert [number for number, r in enumerate(runs) if r.info.status == "KILLED"] == stopped
    with (folder / "studies" / "pruned" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows if row["pruned_at"]] == stopped


def promoted_values():
    """Train by the current params.yaml as the train stage does; return (D, R)."""
    training = Training(load(TrainSettings), open_dataset(Path("data/prepared")))
    list(training)
    return training.best.validation.distortion, training.best.validation.rate


def test_what_could_not_be_written_back_is_refused_before_any_trial(project):
    """params.yaml does not have the knob, which has a default."""
    folder = project(
        study="unwritable",
        space="{balance.kp: {low: 0.001, high: 0.1, log: true}}",
    )
    text = (folder / PARAMS).read_text("utf-8")
    balance = "balance: {kind: control_vae, rate: 6.0}\n"
    (folder / PARAMS).write_text(re.sub(r"(?ms)^balance:.*?^(?=penalty:)", balance, text), "utf-8")
    with pytest.raises(UserError, match=r"does not contain balance\.kp"):
        run(RUN)
    assert Journal(folder / "studies" / "unwritable").trials() == []
