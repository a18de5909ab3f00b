"""A study's notes and trials, in a file and in a database."""

import os
import signal
import threading

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from tests.helpers import toy_study as toy
from tests.helpers.forks import Forked
from vaebalance.base.errors import UserError
from vaebalance.study.space import Choices, Range, Space
from vaebalance.study.storage.file_storage import FILE
from vaebalance.study.storage.journal import ARTIFACTS, Journal
from vaebalance.study.trials import Outcome

BETA = "balance.beta"
SPACE = Space((Range(BETA, 0.05, 20.0),))


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "s")


@pytest.fixture
def open_study(tmp_path, place):
    """Return a function that opens a study, in a file or a database."""
    return lambda goals=("lower",): toy.open_journal(tmp_path / "s", place, goals)


def fill(journal):
    for weight, value in ((1.0, 30.0), (0.5, 20.0)):
        trial = journal.add(SPACE, {BETA: weight}, "me")
        journal.finish(trial, Outcome((value,), {"distortion": value - 5, "rate": 5.0}))
    journal.diverge(journal.add(SPACE, {BETA: 0.05}, "me"), "the rate is NaN")
    return journal.add(SPACE, {BETA: 7.0}, "you")


def test_trials_come_back_as_they_were_put_in(open_study):
    journal = open_study()
    running = fill(journal)
    for trials in (journal.trials(), open_study().trials()):
        assert [t.number for t in trials] == [0, 1, 2, 3]
        assert [t.point[BETA] for t in trials] == [1.0, 0.5, 0.05, 7.0]
        assert [t.state for t in trials] == ["finished", "finished", "diverged", "running"]
        assert [t.values for t in trials] == [(30.0,), (20.0,), None, None]
        assert trials[1].results == {"distortion": 15.0, "rate": 5.0}
        assert trials[2].results == {"reason": "the rate is NaN"}
        assert trials[3] == running
        assert trials[3].worker == "you"


def test_two_numbers_a_target_and_other_types_come_back(open_study):
    space = Space(
        (
            Range("model.latent_size", 2, 16, log=False, whole=True),
            Choices("train.patience", (3, None)),
            Choices("likelihood.kind", ("bernoulli", "laplace")),
        )
    )
    point = {"model.latent_size": 3, "train.patience": None, "likelihood.kind": "laplace"}
    journal = open_study(("higher", "lower"))
    journal.note("subject", {})
    ended = Outcome((1.5, 2.5), {"rate": 2.5}, violation=-0.25)
    journal.finish(journal.add(space, point, "me"), ended)
    (trial,) = open_study().trials()
    assert (trial.point, trial.values, trial.violation) == (point, (1.5, 2.5), -0.25)
    assert isinstance(trial.point["model.latent_size"], int)
    study = optuna.load_study(study_name="s", storage=journal._optuna)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert list(study.trials[0].constraints.values()) == [-0.25]


def test_a_study_killed_before_its_first_note_is_begun_anew_by_another_objective(open_study):
    open_study()
    other = open_study(("lower", "lower"))
    other.finish(other.add(SPACE, {BETA: 1.0}, "me"), Outcome((1.0, 2.0), {}))
    other.note("subject", {})
    assert open_study().trials()[0].values == (1.0, 2.0)


def test_a_trial_taken_over_has_another_worker(open_study):
    journal = open_study()
    running = fill(journal)
    journal.take_over(running, "me")
    assert journal.trials()[3].worker == "me"
    assert journal.trials()[3].state == "running"


def test_other_programs_can_read_it_with_optuna_alone(journal):
    fill(journal)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(journal.folder / FILE))
    )
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.best_params == {"balance.beta": 0.5}
    assert study.best_trial.user_attrs["rate"] == 5.0


def test_notes_are_kept(open_study):
    open_study().note("subject", {"a": [1, 2.5, None]})
    assert open_study().notes == {"subject": {"a": [1, 2.5, None]}}


def test_a_line_cut_short_by_a_crash_is_dropped(journal):
    fill(journal)
    path = journal.folder / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "worker_')
    again = Journal(journal.folder)
    assert path.read_bytes().startswith(whole)
    again.add(SPACE, {BETA: 3.0}, "me")
    assert [t.point[BETA] for t in Journal(journal.folder).trials()] == [1.0, 0.5, 0.05, 7.0, 3.0]


def test_a_damaged_file_is_named(journal):
    fill(journal)
    path = journal.folder / FILE
    path.write_bytes(b"not a journal\n" + path.read_bytes())
    with pytest.raises(UserError, match=r"study\.journal: not a readable Optuna journal.*move it"):
        Journal(journal.folder)


def test_a_process_killed_while_it_holds_the_locks_blocks_nobody(open_study, place):
    journal = open_study()
    process = Forked(toy.hold, journal.folder, place)
    assert process.stdout.readline() == "held\n"
    waiting = threading.Thread(target=add_one, args=(open_study,), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    waiting.join(5)
    assert [trial.worker for trial in journal.trials()] == ["waiting"]


def add_one(open_study):
    journal = open_study()
    with journal.lock:
        journal.add(SPACE, {BETA: 1.0}, "waiting")


def test_a_worker_whose_trial_was_taken_over_leaves_its_end_to_the_other(open_study):
    journal = open_study()
    theirs = journal.add(SPACE, {BETA: 1.0}, "asleep")
    mine = journal.take_over(theirs, "me")
    journal.finish(theirs, Outcome((1.0,), {"rate": 1.0}))
    journal.diverge(theirs, "the rate is NaN")
    assert journal.trials() == [mine]
    journal.finish(mine, Outcome((2.0,), {"rate": 2.0}))
    journal.finish(theirs, Outcome((1.0,), {"rate": 1.0}))
    (trial,) = journal.trials()
    assert (trial.values, trial.results, trial.worker) == ((2.0,), {"rate": 2.0}, "me")


def test_the_study_of_another_program_is_left_alone(open_study):
    journal = open_study()
    journal._study.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(UserError, match=r"the study 's' was made by another program; name another"):
        open_study(("lower", "lower"))


def artifacts_of(journal, number):
    trial = journal._study.get_trials()[number]
    return get_all_artifact_meta(trial, storage=journal._optuna)


def test_a_file_is_kept_with_a_trial_once_however_often_it_runs(journal):
    """A kill between Optuna's note of an artifact and its file leaves a note without a file."""
    first = journal.add(SPACE, {BETA: 1.0}, "me")
    journal.attach(first, "picture.png", b"one")
    (meta,) = artifacts_of(journal, 0)
    file = journal.folder / ARTIFACTS / meta.artifact_id
    assert file.read_bytes() == b"one"
    file.unlink()
    again = journal.take_over(first, "you")
    journal.attach(again, "picture.png", b"two")
    assert artifacts_of(journal, 0) == [meta]
    assert file.read_bytes() == b"two"
    journal.finish(again, Outcome((1.0,), {}))
    assert "picture.png" not in journal.trials()[0].results
    second = journal.add(SPACE, {BETA: 2.0}, "me")
    journal.attach(second, "picture.png", b"three")
    assert len(list((journal.folder / ARTIFACTS).iterdir())) == 2


def test_numbers_are_named_once(journal):
    journal.name_goals(["nll, nats per image"])
    written = (journal.folder / FILE).read_bytes()
    journal.name_goals(["nll, nats per image"])
    assert (journal.folder / FILE).read_bytes() == written
    study = optuna.load_study(study_name="s", storage=Journal(journal.folder)._optuna)
    assert study.metric_names == ["nll, nats per image"]
