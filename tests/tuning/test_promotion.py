"""One number of params.yaml changes, and nothing else of it."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from vaebalance.errors import UserError
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.promotion import choose, edit_number, explain, write_weight
from vaebalance.tuning.space import Range

REAL = (Path(__file__).parents[2] / PARAMS).read_text("utf-8")
SPACE = Range("balance.beta", 0.05, 20.0)


def changed(before, after):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def columns(text):
    """Where the comments stand."""
    return [line.find(" #") for line in text.splitlines() if ":" in line]


@pytest.mark.parametrize(
    ("knob", "number", "line"),
    [
        ("balance.beta", 0.4128, "+  beta: 0.4128              # weight of the rate, ≥ 0"),
        ("balance.beta", 20, "+  beta: 20.0                # weight of the rate, ≥ 0"),
        ("balance.beta", 1e-5, "+  beta: 1.0e-05             # weight of the rate, ≥ 0"),
        ("balance.alpha", 12340.0, "+  alpha: 12340.0            # weight of the distortion, ≥ 0"),
        ("train.learning_rate", 0.25, "+  learning_rate: 0.25       # Adam's"),
    ],
)
def test_only_that_line_of_the_real_file_changes(knob, number, line):
    after = edit_number(REAL, knob, number)
    assert changed(REAL, after)[1:] == [line]
    assert len(changed(REAL, after)) == 2
    assert columns(after) == columns(REAL)


@given(number=st.floats(1e-12, 1e12))
def test_the_number_comes_back_to_the_last_bit(number):
    after = edit_number(REAL, "balance.beta", number)
    assert YAML(typ="safe").load(after)["balance"]["beta"] == number


def test_a_number_longer_than_the_room_keeps_its_comment():
    after = edit_number("b:\n  beta: 1.0 # weight\n", "b.beta", 0.123456789012)
    assert after == "b:\n  beta: 0.123456789012 # weight\n"


def test_the_same_number_changes_nothing():
    assert edit_number(REAL, "balance.beta", 1.0) == REAL


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("b: {kind: fixed, beta: 1.0, alpha: 1}\n", "b: {kind: fixed, beta: 0.5, alpha: 1}\n"),
        ("b:\r\n  beta: 1.0\r\nseed: 0\r\n", "b:\r\n  beta: 0.5\r\nseed: 0\r\n"),
        ("b:\n  beta:   1   \nseed: 0", "b:\n  beta:   0.5   \nseed: 0"),
        ("# β\nb:\n  beta: 1\n", "# β\nb:\n  beta: 0.5\n"),
        ("b:\n  'beta': 1\n", "b:\n  'beta': 0.5\n"),
        ("b:\n  beta: 1e0  # x\n", "b:\n  beta: 0.5  # x\n"),
    ],
)
def test_other_ways_to_write_it(before, after):
    assert edit_number(before, "b.beta", 0.5) == after


def test_an_alias_is_not_edited_behind_the_back_of_its_others():
    text = "a: &w 1.0\nb:\n  beta: *w\n"
    with pytest.raises(UserError, match=r"b\.beta cannot be changed without.*by hand: 0\.5"):
        edit_number(text, "b.beta", 0.5)


def test_a_knob_left_to_its_default_is_asked_for():
    with pytest.raises(UserError, match=r"params\.yaml does not spell out balance\.beta.*: 0\.5"):
        edit_number("balance: {kind: fixed}\n", "balance.beta", 0.5)


def test_the_file_is_written_with_its_mode_and_the_diff_returned(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(REAL.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    diff = write_weight(path, SPACE, 0.4128)
    assert "-  beta: 1.0                 # weight of the rate" in diff
    assert "+  beta: 0.4128              # weight of the rate" in diff
    assert (
        path.read_bytes()
        == edit_number(REAL, "balance.beta", 0.4128).replace("\n", "\r\n").encode()
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert load(Settings, path).balance.beta == 0.4128
    assert write_weight(path, SPACE, 0.4128) == ""
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def trial(number, weight, value, state="finished"):
    results = {"distortion": 0.0, "rate": value, "seconds": 1.0} if value is not None else {}
    return Trial(number, weight, state, value, results, "w")


TRIALS = [
    trial(0, 1.0, 30.0),
    trial(1, 0.5, 20.0),
    trial(2, 0.1, 25.0),
    trial(3, 0.2, None, "diverged"),
    trial(4, 0.3, None, "running"),
]


def test_choosing():
    assert choose(TRIALS, "best").number == 1
    assert choose(TRIALS, 2).number == 2


@pytest.mark.parametrize(("choice", "why"), [(3, "diverged"), (4, "running"), (9, "no such trial")])
def test_a_trial_without_a_value_is_refused(choice, why):
    with pytest.raises(UserError, match=rf"--promote {choice}: .*{why}.*finished: 0, 1, 2"):
        choose(TRIALS, choice)


def test_an_empty_study_is_refused():
    with pytest.raises(UserError, match="no finished trial to promote; run it first"):
        choose(TRIALS[3:], "best")


def test_the_reasons_for_the_best():
    text = explain(TRIALS[1], TRIALS, SPACE)
    assert "trial 1: β = 0.5, validation D + R 20.0000 nats per image" in text
    assert "the least of 3 finished trials" in text
    assert "runner-up: trial 2, β = 0.1, +5.0000 nats" in text
    assert "searched: β from 0.05 to 20" in text
    assert "warning" not in text


def test_the_reasons_for_another():
    text = explain(TRIALS[0], TRIALS, SPACE)
    assert "number 3 of 3 finished trials" in text
    assert "best: trial 1, β = 0.5, -10.0000 nats" in text


@pytest.mark.parametrize(
    ("weight", "side"),
    [(0.05, "low"), (0.09, "low"), (0.0505, "low"), (20.0, "high"), (2.0, "high"), (19.9, "high")],
)
def test_the_edge_of_what_was_tried_is_warned_of(weight, side):
    trials = [*TRIALS[:3], trial(5, weight, 1.0)]
    text = explain(trials[-1], trials, SPACE)
    assert f"warning: this is at the {side} edge of what was tried" in text
    assert f"tune.{side}" in text


def test_a_single_trial_has_no_runner_up():
    assert "runner-up" not in explain(TRIALS[0], TRIALS[:1], SPACE)
