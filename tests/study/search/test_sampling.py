"""The next weight depends on the trials before it and the seed, and on nothing else."""

import math

import numpy as np
import optuna
import pytest
import torch

from vaebalance.objectives.frontier import hypervolume
from vaebalance.study.search.pruning import Reading
from vaebalance.study.search.sampling import STARTUP, startup, suggest
from vaebalance.study.space import Choices, Range, Space
from vaebalance.study.trials import Trial

BETA = "balance.beta"
RANGE = Range(BETA, 0.05, 20.0)
SPACE = Space((RANGE,))
SAMPLERS = ["gp", "tpe", "quasi_random"]


def valley(weight):
    """Return a value that is least at 0.7."""
    return 100 + math.log(weight / 0.7) ** 2


def finished(number, weight, value=None):
    value = valley(weight) if value is None else value
    return trial(number, {BETA: weight}, (value,))


def trial(number, point, values, state="finished", violation=None):
    return Trial(number, point, state, values, violation, {}, "w")


def play(sampler, count, seed=0):
    history = []
    for number in range(count):
        weight = suggest(sampler, SPACE, history, seed, number)[BETA]
        history.append(finished(number, weight))
    return [trial.point[BETA] for trial in history]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_history_gives_the_same_weight(sampler):
    np.random.seed(1)
    first = play(sampler, 14)
    np.random.seed(2)
    assert play(sampler, 14) == first
    assert play(sampler, 14, seed=1) != first
    assert all(RANGE.contains(weight) for weight in first)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_weights_are_evenly_spread(sampler):
    count = min(STARTUP.get(sampler, 16), 8) // 4 * 4
    weights = play(sampler, count)
    gaps = np.diff(sorted(RANGE.fraction(weight) for weight in weights))
    assert np.allclose(gaps, 1 / count, atol=1e-3)


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_model_based_sampler_finds_the_valley(sampler):
    best = min(play(sampler, 16), key=valley)
    assert abs(math.log(best / 0.7)) < 0.2


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_sampler_thinks_on_one_thread(sampler, three_threads, monkeypatch):
    found, ask = [], optuna.study.Study.ask

    def watched(*arguments):
        found.append(torch.get_num_threads())
        return ask(*arguments)

    monkeypatch.setattr(optuna.study.Study, "ask", watched)
    play(sampler, STARTUP[sampler] + 1)
    assert found == [1]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_running_trials_are_not_suggested_again(sampler):
    history = [finished(i, RANGE.at(i / 11)) for i in range(12)]
    first = suggest(sampler, SPACE, history, 0, 12)
    running = trial(12, first, None, "running")
    assert suggest(sampler, SPACE, [*history, running], 0, 12) != first


def test_a_diverged_weight_counts_as_the_worst():
    """If it were ignored, the lowest weight would be suggested again and again."""
    history = [finished(i, RANGE.at(0.3 + i / 15), 100.0 + i) for i in range(8)]
    tried = []
    for number in range(8, 14):
        weight = suggest("gp", SPACE, history, 0, number)[BETA]
        state = "diverged" if weight < 0.2 else "finished"
        values = None if state == "diverged" else (100 + 15 * (RANGE.fraction(weight) - 0.3),)
        history.append(trial(number, {BETA: weight}, values, state))
        tried.append(state)
    assert "finished" in tried


def test_a_pruned_weight_counts_as_what_was_last_said_of_it():
    history = [finished(i, RANGE.at(i / 9)) for i in range(9)]
    there = {BETA: RANGE.at(0.55)}
    said = {1: Reading((150.0,)), 3: Reading((valley(there[BETA]),))}
    pruned = Trial(9, there, "pruned", None, None, {}, "w", said)
    as_finished = trial(9, there, said[3].values)
    assert suggest("gp", SPACE, [*history, pruned], 0, 10) == suggest(
        "gp", SPACE, [*history, as_finished], 0, 10
    )


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_history_without_any_value_is_no_obstacle(sampler):
    history = [trial(i, {BETA: RANGE.at(i / 12)}, None, "diverged") for i in range(12)]
    assert SPACE.contains(suggest(sampler, SPACE, history, 0, 12))


WIDE = Space(
    (RANGE, Range("model.latent_size", 2, 16, log=False, whole=True), Choices("a.b", ("x", "y")))
)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_several_knobs_of_several_types(sampler):
    """The value is least at β = 0.7, 6 latents, y."""
    history = []
    for number in range(26):
        point = suggest(sampler, WIDE, history, 0, number)
        assert WIDE.contains(point)
        assert isinstance(point["model.latent_size"], int)
        cost = valley(point[BETA]) + (point["model.latent_size"] - 6) ** 2 / 20
        history.append(trial(number, point, (cost + (point["a.b"] == "x"),)))
    points = [tuple(t.point.values()) for t in history]
    assert len(set(points)) == 26
    best = min(history, key=lambda t: t.values[0])
    if sampler != "quasi_random":
        assert best.point["a.b"] == "y"
        assert abs(best.point["model.latent_size"] - 6) <= 2
        assert best.values[0] < 100.6


def test_the_first_points_fill_the_square():
    """Each quarter of each axis has a quarter of them, and no two coordinates move together."""
    square = Space((RANGE, Range("train.learning_rate", 1e-4, 1e-2)))
    points = [suggest("quasi_random", square, [], 0, i) for i in range(16)]
    shares = np.array(
        [[d.fraction(p[d.knob]) for d in square.dimensions] for p in points]  # [16, 2]
    )
    for column in shares.T:
        assert np.allclose(np.diff(np.sort(column)), 1 / 16, atol=1e-3)
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.5
    assert startup("gp", square) > startup("gp", SPACE)


def line(weight):
    """Return D and R of a weight on a convex frontier."""
    return (100 / (1 + 4 / weight**0.5), 30 / (1 + weight**0.5))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_two_numbers_at_once_fill_the_frontier(sampler):
    history = []
    for number in range(16):
        point = suggest(sampler, SPACE, history, 0, number, ("lower", "lower"))
        history.append(trial(number, point, line(point[BETA])))
    grid = [line(RANGE.at(i / 199)) for i in range(200)]
    reference = (100.0, 30.0)
    area = hypervolume([t.values for t in history], reference)
    assert area > 0.94 * hypervolume(grid, reference)


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_higher_is_better_where_it_is(sampler):
    history = []
    for number in range(16):
        point = suggest(sampler, SPACE, history, 0, number, ("higher",))
        history.append(trial(number, point, (-valley(point[BETA]),)))
    best = max(history, key=lambda t: t.values[0])
    assert abs(math.log(best.point[BETA] / 0.7)) < 0.2


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_target_is_kept_to(sampler):
    """Minimise ln β for β of at least 3, with a diverged and a running trial in the history."""
    history = [trial(0, {BETA: 0.06}, None, "diverged"), trial(1, {BETA: 15.0}, None, "running")]
    for number in range(2, 18):
        point = suggest(sampler, SPACE, history, 0, number)
        weight = point[BETA]
        history.append(trial(number, point, (math.log(weight),), violation=math.log(3 / weight)))
    met = [t for t in history if t.violation is not None and t.violation <= 0]
    best = min(met, key=lambda t: t.values[0])
    assert 3 <= best.point[BETA] < 4.5


def test_a_point_is_not_tried_twice_until_all_are():
    small = Space((Range("model.latent_size", 1, 3, log=False, whole=True), Choices("a.b", (1, 2))))
    history = []
    for number in range(7):
        point = suggest("gp", small, history, 0, number)
        history.append(trial(number, point, (float(point["model.latent_size"]),)))
    tried = [tuple(t.point.values()) for t in history]
    assert len(set(tried[:6])) == 6
    assert tried[6] in tried[:6]


def test_of_hundreds_of_trials_some_are_seen_and_the_best_among_them():
    """The Gaussian process takes long for many."""
    history = [finished(i, RANGE.at(i % 59 / 58)) for i in range(400)]

    def with_value(value):
        history[200] = finished(200, RANGE.at(0.1), value)
        return suggest("gp", SPACE, history, 0, 400)

    assert with_value(150.0) == with_value(160.0)
    assert with_value(50.0) != with_value(150.0)
