"""Each trial trained at once with others ends as it would alone, however the others end."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tests.helpers import toy_study as toy
from vaebalance.base.reports import EpochReport
from vaebalance.data import open_dataset
from vaebalance.run.training_run import Training
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.stacking.groups import CPU_WORK, FEW, FEW_WORK, LARGEST, alike, group_size, join
from vaebalance.study.search.knobs import with_values
from vaebalance.study.search.pruning import PrunedError, Reading
from vaebalance.study.search.search import Plan, Search
from vaebalance.study.storage.journal import Journal
from vaebalance.study.trials import Outcome
from vaebalance.training.loop import NonFiniteError

CPU = torch.device("cpu")


class Heard(toy.Quiet):
    """A listener that records its calls."""

    def __init__(self):
        self.said = []

    def started(self, trial):
        self.said.append(("started", trial.number))

    def ended(self, trials, number):
        self.said.append(("ended", number))

    def note(self, text):
        self.said.append(("note", text))


def lone(trial):
    return Outcome((toy.valley(trial.point),), {})


def run(folder, size, attempt, trials=8, reason=None, listener=None, sampler="gp"):
    """Run a study in groups whose attempts are `attempt(trial)`."""
    search = Search(Journal(folder), Plan(toy.SPACE, sampler, 0, trials, {toy.BETA: 1.0}))
    trainer = Groups(size, attempt, reason)
    search.run_until_complete(trainer, listener or toy.Quiet())
    return search.trials()


@dataclass
class Groups:
    """Trains the trials that were claimed together as a group, unless given a reason not to."""

    size: int
    attempt: Callable
    reason: str | None

    def start(self, trials):
        made = {trial.number: self.attempt(trial) for trial in trials}
        return ([made] if self.reason is None else [{n: a} for n, a in made.items()]), self.reason


def epochs(trial, order=None):
    """Yield for three epochs, then return the outcome."""
    for epoch in range(3):
        if order is not None:
            order.append((epoch, trial.number))
        yield
    return lone(trial)


@pytest.mark.parametrize("sampler", ["gp", "tpe", "quasi_random"])
def test_as_many_as_asked_all_at_different_points(tmp_path, sampler):
    trials = run(tmp_path / "s", 4, epochs, 10, sampler=sampler)
    assert [trial.number for trial in trials] == list(range(10))
    assert len({trial.point[toy.BETA] for trial in trials}) == 10
    assert all(trial.values == (toy.valley(trial.point),) for trial in trials)


def test_a_group_of_one_is_a_study_as_ever(tmp_path):
    alone, grouped = toy.run(tmp_path / "a", trials=8), run(tmp_path / "b", 1, epochs)
    assert toy.pairs(grouped) == toy.pairs(alone)


def test_evenly_spread_points_are_the_same_in_groups(tmp_path):
    alone = toy.run(tmp_path / "a", "quasi_random", 8)
    grouped = run(tmp_path / "b", 3, epochs, sampler="quasi_random")
    assert toy.pairs(grouped) == toy.pairs(alone)


def test_they_take_turns_and_each_ends_by_itself(tmp_path):
    order, listener = [], Heard()
    run(tmp_path / "s", 3, lambda trial: epochs(trial, order), 3, listener=listener)
    assert order == [(epoch, number) for epoch in range(3) for number in range(3)]
    assert listener.said == [(w, n) for w in ("started", "ended") for n in range(3)]


def test_what_differs_runs_one_by_one_and_is_said(tmp_path):
    order, listener = [], Heard()
    attempt = lambda trial: epochs(trial, order)  # noqa: E731
    trials = run(tmp_path / "s", 3, attempt, 3, "they differ", listener)
    assert order == [(epoch, number) for number in range(3) for epoch in range(3)]
    assert [trial.state for trial in trials] == ["finished"] * 3
    (note,) = [text for word, text in listener.said if word == "note"]
    assert "they differ" in note


def test_one_that_diverges_or_is_pruned_ends_alone(tmp_path):
    listener = Heard()

    def attempt(trial):
        yield
        if trial.number == 1:
            raise NonFiniteError("the rate is NaN. Lower it.")
        if trial.number == 2:
            Journal(tmp_path / "s").read(trial, 1, Reading((1.0,)))
            raise PrunedError("others do better")
        yield
        return lone(trial)

    trials = run(tmp_path / "s", 4, attempt, 5, listener=listener)
    states = ["finished", "diverged", "pruned", "finished", "finished", "finished"]
    assert [trial.state for trial in trials] == states
    assert trials[1].results["reason"] == "the rate is NaN"
    ended = [number for word, number in listener.said if word == "ended"]
    assert ended[:2] == [1, 2]  # before the others


def test_interrupted_in_a_group_all_of_it_is_run_again(tmp_path):
    whole = toy.pairs(run(tmp_path / "whole", 4, epochs, 10))
    heard = []

    def interrupted(trial):
        try:
            yield
            if trial.number == 5:
                raise KeyboardInterrupt
            yield
        except BaseException as error:
            heard.append((trial.number, type(error)))
            raise

    def attempt(trial):
        return epochs(trial) if trial.number < 4 else interrupted(trial)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "s", 4, attempt, 10)
    assert sorted(heard) == [(number, KeyboardInterrupt) for number in (4, 5, 6, 7)]
    states = [trial.state for trial in Journal(tmp_path / "s").trials()]
    assert states == ["finished"] * 4 + ["running"] * 4
    assert toy.pairs(run(tmp_path / "s", 4, epochs, 10)) == whole


def test_what_a_killed_process_left_is_not_filled_up(tmp_path):
    """New points are suggested when the sampler has the results that it would have had."""
    journal = Journal(tmp_path / "s")
    search = Search(journal, Plan(toy.SPACE, "gp", 0, 10, {toy.BETA: 1.0}))
    with journal.heartbeat() as gone:
        claimed = search.claim(gone, 4)
        journal.finish(claimed[1], Outcome((1.0,), {}))
    with journal.heartbeat() as me:
        assert [t.number for t in search.claim(me, 4)] == [0, 2, 3]
        assert [t.number for t in search.claim(me, 4)] == [4, 5, 6, 7]
        assert [t.number for t in search.claim(me, 4)] == [8, 9]
        assert search.claim(me, 4) == []


def size(**changes):
    usual = {"work": 1000, "device": CPU, "learns": True, "trials": 20, "workers": 1}
    return group_size(**(usual | changes))


def test_auto_leaves_a_sampler_something_to_learn_from():
    assert size() == 5
    assert size(trials=3) == 1
    assert size(workers=2, trials=40) == 5
    assert size(trials=1000) == size(learns=False) == LARGEST
    assert size(learns=False, trials=6) == 6
    assert size(work=CPU_WORK) == 1
    assert size(work=FEW_WORK) == size(work=CPU_WORK - 1) == FEW
    assert size(work=FEW_WORK, trials=12) == 3
    assert size(work=CPU_WORK, device=torch.device("cuda")) == 5


@pytest.fixture
def trainings(project, prepared):
    project(epochs="3")
    settings, dataset = load(Settings, PARAMS), open_dataset(prepared)
    return lambda *points: [Training(with_values(settings, p), dataset) for p in points]


def test_settings_of_one_shape_are_found(trainings):
    sizes = [{"model.latent_size": n, toy.BETA: beta} for n, beta in ((8, 1.0), (4, 1.0), (8, 2.0))]
    groups, reason = alike(trainings(*sizes))
    assert groups == [[0, 2], [1]]
    assert "shape" in reason
    betas = [{toy.BETA: beta, "train.learning_rate": beta / 100} for beta in (0.1, 1.0)]
    assert alike(trainings(*betas)) == ([[0, 1]], None)


def test_networks_that_cannot_be_stacked_are_trained_alone(trainings):
    some = trainings(*({toy.BETA: beta} for beta in (0.1, 1.0, 2.0)))
    for training in some[:2]:
        training.learner.model.encoder.append(nn.BatchNorm1d(16))
    groups, reason = alike(some)
    assert groups == [[0], [1], [2]]
    assert "shape" in reason
    groups, reason = alike(some[:2])
    assert groups == [[0], [1]]
    assert "batch normalization" in reason


def test_a_training_in_a_group_is_the_training(trainings):
    points = [
        {toy.BETA: 0.1, "train.patience": 1, "train.epochs": 3},
        {toy.BETA: 4.0, "train.learning_rate": 0.02},
    ]
    alone, grouped = trainings(*points), trainings(*points)
    for training in alone:
        list(training)
    streams = [t.taking(source) for t, source in zip(grouped, join(grouped), strict=True)]
    for _ in range(4):
        for stream in streams:
            assert isinstance(next(stream, None), EpochReport | None)
    for one, other in zip(alone, grouped, strict=True):
        assert [r.epoch for r in one.history] == [r.epoch for r in other.history]
        assert one.best.epoch == other.best.epoch
        close = pytest.approx(one.best.metrics(), rel=1e-3, abs=1e-4)
        assert other.best.metrics() == close
        for name, value in one.best_weights.items():
            torch.testing.assert_close(other.best_weights[name], value, atol=1e-3, rtol=1e-2)
