"""Successive halving with one number, with several, and with a target."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import toy_study as toy
from vaebalance.study.search.pruning import FACTOR, PrunedError, Reading, is_hopeless, rungs
from vaebalance.study.search.search import Plan, Search
from vaebalance.study.storage.journal import Journal
from vaebalance.study.trials import Outcome

LOWER = ("lower",)
BOTH = ("lower", "lower")
numbers = st.floats(-100, 100)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, ()), (2, (1,)), (3, (1,)), (9, (1, 3)), (10, (2, 4)), (100, (12, 34))],
)
def test_rungs_come_before_the_last_epoch(epochs, expected):
    assert rungs(epochs) == expected


def test_the_first_at_a_rung_goes_on_and_one_that_is_beaten_stops():
    assert not is_hopeless(Reading((5.0,)), [], LOWER)
    assert is_hopeless(Reading((5.0,)), [Reading((4.0,))], LOWER)
    assert not is_hopeless(Reading((5.0,)), [Reading((6.0,))], LOWER)
    assert is_hopeless(Reading((5.0,)), [Reading((6.0,))], ("higher",))


@given(numbers, st.lists(numbers, max_size=20))
def test_of_one_number_the_best_third_go_on(value, others):
    ahead = sum(other < value for other in others)
    keeps = max(1, math.floor((len(others) + 1) / FACTOR))
    found = is_hopeless(Reading((value,)), [Reading((other,)) for other in others], LOWER)
    assert found == (ahead >= keeps)


@given(st.tuples(numbers, numbers), st.lists(st.tuples(numbers, numbers), max_size=12))
def test_a_point_of_the_front_always_goes_on(point, others):
    beaten = any(d <= point[0] and r <= point[1] and (d, r) != point for d, r in others)
    if not beaten:
        assert not is_hopeless(Reading(point), [Reading(other) for other in others], BOTH)


def test_a_point_that_many_beat_in_both_stops():
    others = [Reading((1.0, 1.0)), Reading((2.0, 0.5))]
    assert is_hopeless(Reading((3.0, 3.0)), others, BOTH)


def test_less_that_misses_the_target_by_more_is_no_reason_to_stop():
    """Early no trial meets the target, and the number alone would keep the wrong trials."""
    near, far = Reading((9.0,), 0.1), Reading((1.0,), 3.0)
    assert not is_hopeless(near, [far] * 5, LOWER)
    assert is_hopeless(Reading((9.5,), 0.2), [near, far], LOWER)
    met = [Reading((5.0,), -2.0)] * 5
    assert not is_hopeless(Reading((4.0,), -0.01), met, LOWER)
    assert is_hopeless(Reading((6.0,), -7.0), met, LOWER)


def pruned_study(folder, trials=14, stop_at=None):
    """Run a study of a valley whose trials are judged at epochs 1 and 3."""
    search = Search(Journal(folder), Plan(toy.SPACE, "gp", 0, trials, {toy.BETA: 1.0}))

    def objective(trial):
        value = toy.valley(trial.point)
        for epoch in (1, 3):
            if search.should_stop(trial, epoch, Reading((value + 10 / epoch,))):
                raise PrunedError
            if trial.number == stop_at and epoch == 1:
                raise KeyboardInterrupt
        return Outcome((value,), {})

    search.run_until_complete(toy.OneByOne(objective), toy.Quiet())
    return search.trials()


def test_a_study_stops_what_is_beaten_and_keeps_the_best(tmp_path):
    trials = pruned_study(tmp_path / "s")
    assert len(trials) == 14
    stopped = [trial for trial in trials if trial.state == "pruned"]
    done = [trial for trial in trials if trial.state == "finished"]
    assert len(stopped) + len(done) == 14
    assert stopped
    assert all(trial.values is None for trial in stopped)
    assert all(set(trial.rungs) == {1, 3} for trial in done)
    values = [toy.valley(trial.point) for trial in trials]
    assert min(trial.values[0] for trial in done) == min(values)


def test_a_pruned_study_that_was_stopped_goes_on_as_if_never(tmp_path):
    whole = pruned_study(tmp_path / "whole")
    stopped_at = next(trial.number for trial in whole if trial.number > 1 and 3 in trial.rungs)
    with pytest.raises(KeyboardInterrupt):
        pruned_study(tmp_path / "s", stop_at=stopped_at)
    again = pruned_study(tmp_path / "s")
    assert [(t.point, t.state, t.values, t.rungs) for t in again] == [
        (t.point, t.state, t.values, t.rungs) for t in whole
    ]
