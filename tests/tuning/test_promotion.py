"""Which trial, why, and its weight in params.yaml."""

from pathlib import Path

import pytest

from vaebalance.errors import UserError
from vaebalance.params_file import edit_number
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.promotion import choose, explain, write_weight
from vaebalance.tuning.space import Range

REAL = (Path(__file__).parents[2] / PARAMS).read_text("utf-8")
SPACE = Range("balance.beta", 0.05, 20.0)


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
