"""The chosen trial, the reason, and its weight in params.yaml."""

from pathlib import Path

import pytest

from vaebalance.base.errors import UserError
from vaebalance.objectives.objectives import Constrained, Frontier, NegativeElbo, Nll
from vaebalance.settings import PARAMS, Settings, TrainSettings, load
from vaebalance.settings.params_file import edit_knob, rewrite
from vaebalance.study.results.promotion import choose, explain
from vaebalance.study.search.knobs import edit_point, with_values
from vaebalance.study.space import Range, Space
from vaebalance.study.trials import Trial
from vaebalance.vae.likelihoods import Laplace

REAL = (Path(__file__).parents[3] / PARAMS).read_text("utf-8")
BETA = "balance.beta"
SPACE = Space((Range(BETA, 0.05, 20.0),))
ELBO = NegativeElbo()


def write_values(path, point):
    return rewrite(path, lambda text: edit_point(text, point, path.name))


def test_the_file_is_written_with_its_mode_and_the_diff_returned(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(REAL.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    diff = write_values(path, {BETA: 0.4128})
    assert "-  beta: 1.0                 # weight of the rate" in diff
    assert "+  beta: 0.4128              # weight of the rate" in diff
    assert path.read_bytes() == edit_knob(REAL, BETA, 0.4128).replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert load(Settings, path).balance.beta == 0.4128
    assert write_values(path, {BETA: 0.4128}) == ""
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("point", "lines"),
    [
        ({BETA: 0.5, "model.latent_size": 3}, ["  beta: 0.5 ", "  latent_size: 3 "]),
        ({"train.learning_rate": 0.00025}, ["  learning_rate: 0.00025 "]),
        ({"train.patience": None}, ["  patience: null "]),
        ({"model.architecture.activation": "tanh"}, ["    activation: tanh "]),
        ({"likelihood.kind": "gaussian"}, ["  kind: gaussian ", "  sigma: 0.1"]),
        ({"likelihood.kind": "laplace", BETA: 2.0}, ["  kind: laplace ", "  beta: 2.0 "]),
    ],
)
def test_what_is_written_is_what_was_trained(tmp_path, point, lines):
    path = tmp_path / "params.yaml"
    path.write_text(REAL, "utf-8")
    settings = load(Settings, path)
    write_values(path, point)
    assert load(TrainSettings, path) == with_values(settings, point)
    after = path.read_text("utf-8")
    for line in lines:
        assert f"\n{line}" in after
    assert after.count("#") == REAL.count("#")


def test_a_kind_and_back_again(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(REAL, "utf-8")
    write_values(path, {"likelihood.kind": "laplace"})
    assert load(Settings, path).likelihood == Laplace()
    write_values(path, {"likelihood.kind": "bernoulli"})
    assert path.read_text("utf-8") == REAL


def test_a_knob_that_the_file_leaves_to_its_default_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    text = REAL.replace("  kind: bernoulli ", "  kind: gaussian  ")
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"does not contain likelihood\.sigma"):
        write_values(path, {"likelihood.sigma": 0.2})
    assert path.read_text("utf-8") == text


def trial(number, weight, value, state="finished", **results):
    values = None if value is None else (value,)
    found = {"distortion": 0.0, "rate": value, "seconds": 1.0, **results} if values else {}
    return Trial(number, {BETA: weight}, state, values, None, found, "w")


TRIALS = [
    trial(0, 1.0, 30.0),
    trial(1, 0.5, 20.0),
    trial(2, 0.1, 25.0),
    trial(3, 0.2, None, "diverged"),
    trial(4, 0.3, None, "running"),
]


def test_choosing():
    assert choose(TRIALS, "best", ELBO).number == 1
    assert choose(TRIALS, 2, ELBO).number == 2


@pytest.mark.parametrize(("choice", "why"), [(3, "diverged"), (4, "running"), (9, "no such trial")])
def test_a_trial_without_a_value_is_refused(choice, why):
    with pytest.raises(UserError, match=rf"--promote {choice}: .*{why}.*finished: 0, 1, 2"):
        choose(TRIALS, choice, ELBO)


def test_an_empty_study_is_refused():
    with pytest.raises(UserError, match="no finished trial to promote; run it first"):
        choose(TRIALS[3:], "best", ELBO)


def test_the_reasons_for_the_best():
    text = explain(TRIALS[1], TRIALS, SPACE, ELBO)
    assert "trial 1: β = 0.5: validation D + R (α = β = 1) 20.0000 nats per image" in text
    assert "the least of 3 finished trials" in text
    assert "runner-up: trial 2, β = 0.1, +5.0000 nats" in text
    assert "searched: β from 0.05 to 20, log scale" in text
    assert "warning" not in text


def test_the_reasons_for_another():
    text = explain(TRIALS[0], TRIALS, SPACE, ELBO)
    assert "number 3 of 3 finished trials" in text
    assert "best by the number alone: trial 1, β = 0.5, -10.0000 nats" in text


@pytest.mark.parametrize(
    ("weight", "side"),
    [(0.05, "low"), (0.09, "low"), (0.0505, "low"), (20.0, "high"), (2.0, "high"), (19.9, "high")],
)
def test_the_edge_of_what_was_tried_is_warned_of(weight, side):
    trials = [*TRIALS[:3], trial(5, weight, 1.0)]
    text = explain(trials[-1], trials, SPACE, ELBO)
    assert f"warning: β of the best, trial 5, is at the {side} edge of what was tried" in text
    assert f"move {side} of tune.space.balance.beta" in text


def test_a_single_trial_has_no_runner_up():
    assert "runner-up" not in explain(TRIALS[0], TRIALS[:1], SPACE, ELBO)


def test_an_nll_is_chosen_within_its_noise():
    noise = {"nll_standard_error": 2.0}
    trials = [
        trial(0, 1.0, 20.5, held_out_marginal_kl=4.0, **noise),
        trial(1, 0.3, 20.0, held_out_marginal_kl=9.0, **noise),
        trial(2, 3.0, 21.9, held_out_marginal_kl=2.0, **noise),
        trial(3, 9.0, 22.1, held_out_marginal_kl=0.5, **noise),
    ]
    assert choose(trials, "best", Nll()).number == 2
    text = explain(trials[2], trials, SPACE, Nll())
    assert "number 3 of 4 finished trials" in text
    assert "within one standard error of the least nll" in text
    assert "within it: trial 1, 0, 2" in text
    assert "standard error over images: 2.0000 nats" in text
    assert "held-out marginal KL: 2.0000 nats" in text
    assert "best by the number alone: trial 1, β = 0.3, -1.9000 nats" in text


def on_frontier(number, weight, distortion, rate):
    results = {"distortion": distortion, "rate": rate, "seconds": 1.0}
    return Trial(number, {BETA: weight}, "finished", (distortion, rate), None, results, "w")


FRONTIER = [
    on_frontier(0, 1.0, 4.0, 3.0),
    on_frontier(1, 20.0, 10.0, 0.0),
    on_frontier(2, 0.05, 0.0, 20.0),
    on_frontier(3, 2.0, 12.0, 4.0),
]


def test_a_frontier_has_a_knee_and_no_best():
    goal = Frontier()
    assert choose(FRONTIER, "knee", goal).number == 0
    with pytest.raises(UserError, match="a frontier has no best point"):
        choose(FRONTIER, "best", goal)
    with pytest.raises(UserError, match="no knee"):
        choose(FRONTIER[:2], "knee", goal)
    with pytest.raises(UserError, match="only a frontier has one"):
        choose(TRIALS, "knee", ELBO)
    text = explain(FRONTIER[0], FRONTIER, SPACE, goal, (10.0, 20.0))
    assert "trial 0: β = 1: validation D 4.0000 nats per image, validation R 3.0000 nats" in text
    assert "the knee: the point of the Pareto set farthest below the chord" in text
    assert "neighbour of less rate: trial 1, β = 20, D +6.0000, R -3.0000 nats" in text
    assert "neighbour of more rate: trial 2, β = 0.05, D -4.0000, R +17.0000 nats" in text
    assert "3 of 4 finished trials are on the Pareto set; hypervolume 102.0 nats²" in text
    assert "searched: β from 0.05 to 20" in text
    assert "not on the Pareto set" in explain(FRONTIER[3], FRONTIER, SPACE, goal, (10.0, 20.0))


def missing(number, weight, rate, violation):
    results = {"distortion": 1.0, "rate": rate, "seconds": 1.0}
    return Trial(number, {BETA: weight}, "finished", (rate,), violation, results, "w")


def test_a_target_comes_before_the_number():
    goal = Constrained(rmse=0.2)
    trials = [
        missing(0, 1.0, 5.0, -0.01),
        missing(1, 0.1, 9.0, -0.05),
        missing(2, 9.0, 1.0, 0.1),
        missing(3, 4.0, 2.0, 0.05),
    ]
    assert choose(trials, "best", goal).number == 0
    text = explain(trials[0], trials, SPACE, goal)
    assert "it meets its target (rmse at most 0.2), as 2 of 4 finished trials do" in text
    assert "runner-up: trial 1" in text
    assert "it misses its target by 0.1" in explain(trials[2], trials, SPACE, goal)
    with pytest.raises(UserError, match=r"no trial meets the target, rmse at most 0\.2; the n"):
        choose(trials[2:], "best", goal)
