"""What each schedule promises, and free bits."""

import math

import numpy as np
import pytest
import torch

from tests.helpers.balance_steps import RUN, epoch_of, run, terms_at, terms_of
from vaebalance.balancing import (
    OUT_OF_REACH,
    UNFINISHED,
    Capacity,
    Cyclical,
    Fixed,
    FreeBits,
    WarmUp,
)
from vaebalance.balancing.schedules import ramp


def test_fixed_never_moves():
    assert set(run(Fixed(alpha=2.0, beta=0.5), 9)[0]) == {(2.0, 0.5)}


class TestSchedules:
    @pytest.mark.parametrize(
        ("shape", "formula"),
        [
            ("linear", lambda t: t),
            ("cosine", lambda t: (1 - math.cos(math.pi * t)) / 2),
            (
                "sigmoid",
                lambda t: (logistic(12 * t - 6) - logistic(-6)) / (logistic(6) - logistic(-6)),
            ),
        ],
    )
    def test_ramps(self, shape, formula):
        places = np.linspace(-0.5, 1.5, 41)
        values = ramp(shape, torch.tensor(places)).tolist()
        assert values == pytest.approx([formula(min(1, max(0, t))) for t in places], abs=1e-6)
        assert (values[0], values[-1]) == pytest.approx((0.0, 1.0), abs=1e-7)
        assert values == sorted(values)

    def test_warm_up_rises_linearly_and_stays(self):
        betas = [float(weights.beta) for weights in run(WarmUp(beta=4.0, steps=10), 14)[0]]
        assert betas == pytest.approx([4.0 * min(1.0, step / 10) for step in range(14)])

    def test_warm_up_of_alpha_leaves_beta(self):
        balance = WarmUp(of="alpha", alpha=3.0, beta=0.5, start=1.0, steps=4)
        used = [tuple(map(float, weights)) for weights in run(balance, 6)[0]]
        assert used == [(1.0, 0.5), (1.5, 0.5), (2.0, 0.5), (2.5, 0.5), (3.0, 0.5), (3.0, 0.5)]

    @pytest.mark.parametrize("kind", [WarmUp, Cyclical])
    def test_a_share_is_of_the_run_and_steps_win(self, kind):
        def steps_until_settled(balance):
            state, steps = balance.initial_state(RUN), 0
            while not balance.settled(state):
                state, steps = balance.next_state(state, terms_at(0)), steps + 1
            return steps

        assert steps_until_settled(kind(share=0.25)) == 10
        assert steps_until_settled(kind(share=0.25, steps=7)) == 7
        assert steps_until_settled(kind(steps=100)) == 100

    def test_a_cycle_is_a_ramp_and_a_rest_and_the_last_one_stays(self):
        balance = Cyclical(beta=2.0, cycles=4, ramp=0.5)
        betas = [float(weights.beta) for weights in run(balance, 50)[0]]
        cycle = [0.0, 0.4, 0.8, 1.2, 1.6] + [2.0] * 5
        assert betas == pytest.approx(4 * cycle + [2.0] * 10, abs=1e-6)

    def test_cycles_begin_on_time_where_they_are_no_whole_steps(self):
        betas = [float(w.beta) for w in run(Cyclical(cycles=3, ramp=1.0, steps=10), 12)[0]]
        assert betas == pytest.approx([(3 * step % 10) / 10 for step in range(10)] + [1.0, 1.0])

    def test_capacity_rises_linearly(self):
        """Check that β changes sign where the rate of 5 nats meets C = 10·step/20."""
        balance = Capacity(capacity=10.0, gamma=7.0, steps=20)
        state, betas = balance.initial_state(RUN), []
        terms = terms_of(90.0, [1.25] * 4)
        for _ in range(30):
            betas.append(float(balance.weights(state, terms).beta))
            state = balance.next_state(state, terms)
        assert betas == [7.0] * 10 + [0.0] + [-7.0] * 19


def logistic(x):
    return 1 / (1 + math.exp(-x))


def test_a_groups_latents_are_free_together():
    weights = FreeBits(nats=2.0, group_size=2, beta=3.0).weights(
        {}, terms_of(90.0, [0.1, 2.0, 0.9, 1.0])
    )
    assert weights.beta.tolist() == [3.0, 3.0, 0.0, 0.0]


class TestObstaclesOfSchedules:
    @pytest.mark.parametrize(
        "balance", [WarmUp(steps=400), Cyclical(steps=400), Capacity(capacity=5.0, steps=400)]
    )
    def test_one_longer_than_the_run_never_finishes(self, balance):
        verdict = balance.finding(balance.initial_state(RUN), epoch_of(beta=0.09))
        assert verdict.name == UNFINISHED
        assert "400 steps" in verdict.evidence
        assert "10.0% of the way" in verdict.evidence

    @pytest.mark.parametrize("balance", [WarmUp(), Cyclical(), WarmUp(share=1.0), WarmUp(steps=40)])
    def test_one_that_fits_has_none(self, balance):
        assert balance.finding(run(balance, 40)[1], epoch_of()) is None

    def ramped(self, balance, worth):
        """Return the state after the run, in which each nat of C saves `worth` nats of D."""
        state = balance.initial_state(RUN)
        for step in range(40):
            capacity = balance.capacity * min(1.0, step / 20)
            state = balance.next_state(state, terms_of(1000 - worth * capacity, [capacity / 4] * 4))
        return state

    def test_a_capacity_that_is_not_reached(self):
        balance = Capacity(capacity=500.0)
        verdict = balance.finding(self.ramped(balance, 1.0), epoch_of(rate=300.0))
        assert verdict.name == OUT_OF_REACH
        assert "R is 300 nats and the capacity 500" in verdict.evidence

    @pytest.mark.parametrize(("worth", "useless"), [(1.0, False), (0.2, False), (0.01, True)])
    def test_a_capacity_that_nothing_can_use(self, worth, useless):
        balance = Capacity(capacity=500.0)
        verdict = balance.finding(self.ramped(balance, worth), epoch_of(rate=499.0))
        assert (verdict is not None) == useless
        assert not useless or "for nothing" in verdict.evidence

    def test_a_capacity_is_judged_when_it_is_there(self):
        balance = Capacity(capacity=500.0)
        assert balance.finding(run(balance, 2)[1], epoch_of(rate=1.0)) is None
        none = Capacity(capacity=0.0)
        assert none.finding(run(none, 40)[1], epoch_of(rate=0.0)) is None
