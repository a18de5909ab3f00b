"""What is shown."""

import io

import pytest
from rich.console import Console

from vaebalance.epochs import EpochReport, GradientNorms, SplitReport, Vitals
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.screen import Screen, best_of, duration, make_table
from vaebalance.tuning.space import Range

SPACE = Range("balance.beta", 0.05, 20.0)


def finished(number, value):
    results = {"distortion": value - 3, "rate": 3.0, "seconds": 12.34}
    return Trial(number, 0.1 * (number + 1), "finished", value, results, "me")


TRIALS = [
    finished(0, 30.0),
    finished(1, 20.0),
    Trial(2, 0.05, "diverged", None, {"reason": "the rate is NaN"}, "me"),
    finished(3, 25.0),
    Trial(4, 0.0512, "running", None, {}, "me"),
    Trial(5, 0.0513, "running", None, {}, "gone"),
]


def drawn(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()


def test_the_table_has_every_trial_and_marks_the_best():
    rows = drawn(make_table(TRIALS, SPACE, lambda trial: trial.worker == "me")).splitlines()
    body = [row.replace("│", " ").split() for row in rows if row.startswith("│")]
    assert body == [
        ["0", "0.1", "27.00", "3.00", "30.00", "12.3"],
        ["1", "0.2", "17.00", "3.00", "20.00", "★", "best", "12.3"],
        ["2", "0.05", "diverged"],
        ["3", "0.4", "22.00", "3.00", "25.00", "12.3"],
        ["4", "0.0512", "running"],
        ["5", "0.0513", "stopped"],
    ]


def test_a_long_study_shows_its_last_trials():
    shown = drawn(make_table(TRIALS[:4], SPACE, lambda trial: True, rows=2))
    assert "30.00" not in shown
    assert "25.00" in shown


def test_the_earliest_of_equals_is_best():
    assert best_of([finished(3, 1.0), finished(5, 1.0)]).number == 3
    assert best_of([]) is None


def report(epoch):
    split = SplitReport(17.0, 3.0, 17.0, 3.0, 20.0, 20.0, 1.0, 1.0)
    vitals, norms = Vitals(0.1, 0.1, (3.0,), (0.5,)), GradientNorms(1.0, 1.0)
    return EpochReport(epoch, epoch, split, split, vitals, norms, 0.001, 1.0, 100.0, 0)


def play(console):
    screen = Screen(console, SPACE, "study s", 5, 60, lambda trial: True)
    with screen:
        for trial in TRIALS[:4]:
            running = Trial(trial.number, trial.weight, "running", None, {}, "me")
            screen.started(running)
            screen.epoch(report(12))
            if console.is_terminal:
                console.print(screen.render())
            screen.ended(TRIALS[: trial.number + 1], trial.number)
        screen.waiting(TRIALS)
        screen.waiting(TRIALS)
    return console.file.getvalue()


def test_elsewhere_than_on_a_terminal_there_is_a_line_a_trial():
    lines = play(Console(file=io.StringIO(), width=200)).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("trial 0: β = 0.1: D 27.00, R 3.00, D + R 30.00, the best so far")
    assert "1 of 5 finished, about" in lines[0]
    assert lines[2].startswith("trial 2: β = 0.05: diverged (the rate is NaN); 2 of 5 finished")
    assert "the best so far" not in lines[3]
    assert lines[4] == "waiting for trial 4, 5, run by another process"


def test_on_a_terminal_the_table_lives():
    shown = play(Console(file=io.StringIO(), width=100, height=40, force_terminal=True))
    assert "epoch 12/60, D 17.00, R 3.00, D + R 20.00" in shown
    assert "★ best" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (61, "1 min 01 s"), (3600 * 5 + 59, "5 h 00 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
