"""The table of a study in the terminal."""

import io

import pytest
from rich.console import Console

from vaebalance.base.reports import EpochReport, GradientNorms, PosteriorStats, SplitReport
from vaebalance.objectives.objectives import Constrained, Frontier, Metric, NegativeElbo, Nll
from vaebalance.study.results.choice import chosen
from vaebalance.study.results.table import Screen, View, describe_goals, duration, make_table
from vaebalance.study.space import Range, Space
from vaebalance.study.trials import Trial

SPACE = Space((Range("balance.beta", 0.05, 20.0),))
VIEW = View(SPACE, NegativeElbo(), lambda trial: trial.worker == "me")


def finished(number, value):
    results = {"distortion": value - 3, "rate": 3.0, "negative_elbo": value, "seconds": 12.34}
    return trial(number, 0.1 * (number + 1), "finished", (value,), results)


def trial(number, weight, state, values=None, results=None, worker="me", violation=None):
    return Trial(number, {"balance.beta": weight}, state, values, violation, results or {}, worker)


TRIALS = [
    finished(0, 30.0),
    finished(1, 20.0),
    trial(2, 0.05, "diverged", None, {"reason": "the rate is NaN"}),
    finished(3, 25.0),
    trial(4, 0.0512, "running"),
    trial(5, 0.0513, "running", worker="gone"),
]


def drawn(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()


def test_the_table_has_every_trial_and_marks_the_best():
    rows = drawn(make_table(TRIALS, VIEW)).splitlines()
    body = [row.replace("│", " ").split() for row in rows if row.startswith("│")]
    assert body == [
        ["0", "0.1", "27.00", "3.00", "30", "12.3"],
        ["1", "0.2", "17.00", "3.00", "20", "★", "best", "12.3"],
        ["2", "0.05", "diverged"],
        ["3", "0.4", "22.00", "3.00", "25", "12.3"],
        ["4", "0.0512", "running"],
        ["5", "0.0513", "stopped"],
    ]


def test_a_long_study_shows_its_last_trials():
    shown = drawn(make_table(TRIALS[:4], VIEW, rows=2))
    assert "27.00" not in shown
    assert "22.00" in shown


def test_the_earliest_of_equals_is_best():
    assert chosen([finished(3, 1.0), finished(5, 1.0)], NegativeElbo()).number == 3
    assert chosen([], NegativeElbo()) is None


def report(epoch):
    split = SplitReport(17.0, 3.0, 17.0, 3.0, 20.0, 20.0, 1.0, 1.0)
    posterior_stats, norms = PosteriorStats(0.1, 0.1, (3.0,), (0.5,)), GradientNorms(1.0, 1.0)
    return EpochReport(epoch, epoch, split, split, posterior_stats, norms, 0.001, 1.0, 100.0, 0)


def play(console):
    screen = Screen(console, VIEW, "study s", 5, 60)
    with screen:
        for number in range(4):
            screen.started(trial(number, TRIALS[number].point["balance.beta"], "running"))
            screen.epoch(number, report(12))
            if console.is_terminal:
                console.print(screen.render())
            screen.ended(TRIALS[: number + 1], number)
        screen.waiting(TRIALS)
        screen.waiting(TRIALS)
    return console.file.getvalue()


def test_elsewhere_than_on_a_terminal_there_is_a_line_a_trial():
    lines = play(Console(file=io.StringIO(), width=200)).splitlines()
    assert len(lines) == 5
    first = "trial 0: β = 0.1: D 27.00, R 3.00, negative_elbo 30, the best so far"
    assert lines[0].startswith(first)
    assert "1 of 5 ended, about" in lines[0]
    assert lines[2].startswith("trial 2: β = 0.05: diverged (the rate is NaN); 2 of 5 ended")
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


def test_trials_that_run_at_once_have_a_line_each_until_they_end_or_their_worker_is_gone():
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True)
    screen = Screen(console, VIEW, "study s", 5, 60)
    for number in (0, 1):
        screen.started(trial(number, 0.1 * (number + 1), "running"))
    screen.epoch(1, report(7))
    shown = drawn(screen.render())
    assert "trial 0: β = 0.1\n" in shown
    assert "trial 1: β = 0.2, epoch 7/60, D 17.00" in shown
    screen.lost(1)
    screen.ended([finished(0, 30.0), trial(1, 0.2, "running", worker="gone")], 0)
    shown = drawn(screen.render())
    assert "trial 0: β" not in shown
    assert "trial 1: β" not in shown
    assert "stopped" in shown


def test_a_frontier_is_marked():
    def point(number, distortion, rate):
        results = {"distortion": distortion, "rate": rate, "seconds": 1.0}
        return trial(number, 0.1 * (number + 1), "finished", (distortion, rate), results)

    trials = [point(0, 10.0, 0.0), point(1, 4.0, 2.0), point(2, 0.0, 20.0), point(3, 5.0, 3.0)]
    shown = drawn(make_table(trials, View(SPACE, Frontier(), lambda trial: True)))
    rows = [line.replace("│", " ").split() for line in shown.splitlines() if line[0] == "│"]
    assert rows == [
        ["0", "0.1", "10.00", "0.00", "frontier", "1.0"],
        ["1", "0.2", "4.00", "2.00", "★", "knee", "1.0"],
        ["2", "0.3", "0.00", "20.00", "frontier", "1.0"],
        ["3", "0.4", "5.00", "3.00", "1.0"],
    ]


def test_a_missed_target_is_marked():
    results = {"distortion": 7.0, "rate": 3.0, "seconds": 1.0}
    missed = trial(0, 0.1, "finished", (3.0,), results, violation=0.5)
    view = View(SPACE, Constrained(rmse=0.1), lambda trial: True)
    assert "misses" in drawn(make_table([missed], view))


def test_goals_in_words():
    assert describe_goals(Frontier()) == (
        "least validation D, nats per image and least validation R, nats per image"
    )
    assert describe_goals(Metric(name="test/psnr")) == "largest validation PSNR, dB"
    assert describe_goals(Nll(samples=8)).startswith("least validation nll (calibrated, K = 8)")
