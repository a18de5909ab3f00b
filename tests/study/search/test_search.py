"""Starts, stops and kills of processes do not change the trials."""

import os
import signal

import pytest

from tests.helpers import toy_study as toy
from tests.helpers.toy_study import spawn, wait_until
from vaebalance.base.errors import UserError
from vaebalance.study.search.search import Plan, Search
from vaebalance.study.storage.journal import Journal
from vaebalance.study.trials import Outcome
from vaebalance.training.loop import NonFiniteError

SAMPLERS = ["gp", "tpe", "quasi_random"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the trials of a study that was never stopped, for each sampler."""
    folder = tmp_path_factory.mktemp("whole")
    return {name: toy.pairs(toy.run(folder / name, name, 14)) for name in SAMPLERS}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_current_weight_comes_first_then_as_many_as_asked(sampler, whole):
    trials = whole[sampler]
    assert trials[0] == (0, 1.0, (toy.valley({toy.BETA: 1.0}),))
    assert [number for number, _, _ in trials] == list(range(14))
    assert len({weight for _, weight, _ in trials}) == 14


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_trials_asked_for_go_on_as_if_never_stopped(sampler, whole, tmp_path):
    for trials in (1, 6, 6, 3, 14):
        toy.run(tmp_path / "s", sampler, trials)
    assert toy.pairs(Journal(tmp_path / "s").trials()) == whole[sampler]


def test_sigkill_then_again_ends_as_never_killed(whole, tmp_path, place):
    journal = toy.open_journal(tmp_path / "s", place)
    for stop_at in ("trial 2", "trial 11"):
        process = spawn(tmp_path / "s", "tpe", 14, url=place)
        for line in process.stdout:
            if line.strip() == stop_at:
                break
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert journal.trials()[-1].state == "running"
        wait_until(lambda: journal.stale(journal.trials()))
    assert toy.pairs(toy.run(tmp_path / "s", "tpe", 14, url=place)) == whole["tpe"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_interrupted_trial_is_run_again(sampler, whole, tmp_path, place):
    """It runs without delay, since a process that ends normally gives up its heartbeat."""
    for stop_at in (0, 5, 12):

        def interrupted(trial, stop_at=stop_at):
            if trial.number == stop_at:
                raise KeyboardInterrupt
            return Outcome((toy.valley(trial.point),), {})

        with pytest.raises(KeyboardInterrupt):
            toy.run(tmp_path / "s", sampler, 14, interrupted, url=place)
        trials = toy.open_journal(tmp_path / "s", place).trials()
        assert [trial.state for trial in trials] == ["finished"] * stop_at + ["running"]
    assert toy.pairs(toy.run(tmp_path / "s", sampler, 14, url=place)) == whole[sampler]


def test_two_starts_at_once_share_the_work(tmp_path, place):
    folders = {"a": "a", "b": "a" if place is None else "b"}  # one machine, or two
    processes = [
        spawn(tmp_path / folder / "s", "tpe", 12, name, 2, place)
        for name, folder in folders.items()
    ]
    ran = [process.read().split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    trials = toy.open_journal(tmp_path / "a/s", place).trials()
    assert [trial.number for trial in trials] == list(range(12))
    assert all(trial.values == (toy.valley(trial.point),) for trial in trials)
    numbers = [int(word) for words in ran for word in words if word.isdecimal()]
    assert sorted(numbers) == list(range(12))  # none twice
    assert {trial.results["process"] for trial in trials} == {"a", "b"}


def test_a_trial_of_a_living_process_is_left_alone_and_waited_for(tmp_path):
    journal = Journal(tmp_path / "s")
    search = Search(journal, Plan(toy.SPACE, "gp", 0, 2, {toy.BETA: 1.0}))
    with journal.heartbeat() as living:
        (theirs,) = search.claim(living)
        with journal.heartbeat() as me:
            (mine,) = search.claim(me)
            assert (theirs.number, mine.number) == (0, 1)
            assert search.claim(me) == []
            assert search.is_running(theirs)
    assert not search.is_running(theirs)
    with journal.heartbeat() as me:
        assert [trial.number for trial in search.claim(me)] == [0]  # the other workers are gone
        assert [trial.number for trial in search.claim(me)] == [1]
        assert search.claim(me) == []
    assert len(journal.trials()) == 2


def test_a_diverged_trial_is_recorded_and_not_retried(tmp_path):
    seen = []

    def diverging(trial):
        seen.append(trial.number)
        if trial.number in (1, 3):
            raise NonFiniteError("the rate is NaN at epoch 3, step 7. Lower train.learning_rate.")
        return Outcome((toy.valley(trial.point),), {})

    trials = toy.run(tmp_path / "s", "gp", 5, diverging)
    assert [t.state for t in trials] == [
        *("finished", "diverged", "finished", "diverged", "finished", "finished", "finished")
    ]
    assert trials[1].results == {"reason": "the rate is NaN at epoch 3, step 7"}
    assert seen == list(range(7))
    toy.run(tmp_path / "s", "gp", 5, diverging)
    assert seen == list(range(7))


def test_a_study_in_which_everything_diverges_ends(tmp_path):
    def diverging(trial):
        raise NonFiniteError("the rate is NaN at epoch 1, step 2. Lower it.")

    message = r"4 trials diverged, the last because the rate is NaN at epoch 1, step 2\. Lower tr"
    with pytest.raises(UserError, match=message):
        toy.run(tmp_path / "s", "gp", 3, diverging)


def test_another_error_reaches_the_caller_and_the_trial_is_run_again(tmp_path):
    def broken(trial):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        toy.run(tmp_path / "s", "gp", 3, broken)
    assert [t.state for t in Journal(tmp_path / "s").trials()] == ["running"]
    assert [t.state for t in toy.run(tmp_path / "s", "gp", 3)] == ["finished"] * 3


def test_a_weight_out_of_range_is_not_tried_first(tmp_path):
    weights = [weight for _, weight, _ in toy.pairs(toy.run(tmp_path / "s", "gp", 4, start=None))]
    assert 1.0 not in weights
    assert len(set(weights)) == 4
