"""The next weight depends on the trials before it and the seed, and on nothing else."""

import math

import numpy as np
import pytest

from vaebalance.tuning.journal import Trial
from vaebalance.tuning.space import Range
from vaebalance.tuning.suggestions import STARTUP, suggest

SPACE = Range("balance.beta", 0.05, 20.0)
SAMPLERS = ["gp", "tpe", "quasi_random"]


def valley(weight):
    """Least at 0.7."""
    return 100 + math.log(weight / 0.7) ** 2


def finished(number, weight, value=None):
    return Trial(number, weight, "finished", valley(weight) if value is None else value, {}, "w")


def play(sampler, count, seed=0):
    history = []
    for number in range(count):
        weight = suggest(sampler, SPACE, history, seed, number)
        history.append(finished(number, weight))
    return [trial.weight for trial in history]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_history_gives_the_same_weight(sampler):
    np.random.seed(1)
    first = play(sampler, 14)
    np.random.seed(2)
    assert play(sampler, 14) == first
    assert play(sampler, 14, seed=1) != first
    assert all(SPACE.contains(weight) for weight in first)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_weights_are_evenly_spread(sampler):
    count = min(STARTUP.get(sampler, 16), 8) // 4 * 4
    weights = play(sampler, count)
    gaps = np.diff(sorted(SPACE.fraction(weight) for weight in weights))
    assert np.allclose(gaps, 1 / count, atol=1e-3)


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_model_based_sampler_finds_the_valley(sampler):
    best = min(play(sampler, 16), key=valley)
    assert abs(math.log(best / 0.7)) < 0.2


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_running_trials_are_not_suggested_again(sampler):
    history = [finished(i, SPACE.at(i / 11)) for i in range(12)]
    first = suggest(sampler, SPACE, history, 0, 12)
    running = Trial(12, first, "running", None, {}, "w")
    assert suggest(sampler, SPACE, [*history, running], 0, 12) != first


def test_a_diverged_weight_counts_as_the_worst():
    """Seen as missing, the lowest weight would look best again and again."""
    history = [finished(i, SPACE.at(0.3 + i / 15), 100.0 + i) for i in range(8)]
    tried = []
    for number in range(8, 14):
        weight = suggest("gp", SPACE, history, 0, number)
        state = "diverged" if weight < 0.2 else "finished"
        value = None if state == "diverged" else 100 + 15 * (SPACE.fraction(weight) - 0.3)
        history.append(Trial(number, weight, state, value, {}, "w"))
        tried.append(state)
    assert "finished" in tried


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_history_without_any_value_is_no_obstacle(sampler):
    history = [Trial(i, SPACE.at(i / 12), "diverged", None, {}, "w") for i in range(12)]
    assert SPACE.contains(suggest(sampler, SPACE, history, 0, 12))
