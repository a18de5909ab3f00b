"""What each controller promises."""

import math

import pytest
import torch
from pydantic import ValidationError

from tests.helpers.balance_steps import RUN, epoch_of, run, terms_of
from vaebalance.balancing import NOT_HELD, OUT_OF_REACH, ControlVae, Geco, OptimalSigma
from vaebalance.balancing.controllers import GECO_RATIOS


def test_two_targets_are_named():
    with pytest.raises(ValidationError, match=r"exactly one target .* given: distortion, rmse"):
        Geco(distortion=90.0, rmse=0.1)


def test_a_perfect_reconstruction_is_a_finite_constraint():
    balance = Geco(rmse=0.1)
    state = balance.next_state(balance.initial_state(RUN), terms_of(0.0, [1.0] * 4, 0.0))
    assert all(value.isfinite() for value in state.values())


def test_a_perfect_reconstruction_has_a_finite_optimal_sigma():
    balance = OptimalSigma()
    assert balance.weights(balance.initial_state(RUN), terms_of(0.0, [1.0] * 4, 0.0)).alpha < 1e6


class TestGeco:
    """On a system whose D is known: 40 nats and half a nat per latent and unit of 1/λ."""

    def settle(self, balance, start, steps=4000):
        """Run `steps` steps from λ = start; return D, ‖x − x̂‖² and the state after them."""
        state = balance.initial_state(RUN) | {"log_ratio": torch.tensor(math.log(start))}
        distortion, squared_error = 100.0, 4.0
        terms = terms_of(distortion, [1.0] * 4, squared_error)
        for _ in range(steps):
            weights = balance.weights(state, terms)
            ratio = float(weights.alpha / weights.beta)
            assert max(float(w) for w in weights) == pytest.approx(1.0)
            distortion += 0.05 * (40 + 2 / ratio - distortion)  # a network takes its time
            squared_error += 0.05 * (0.1 + 0.5 / ratio - squared_error)
            terms = terms_of(distortion, [1.0] * 4, squared_error)
            state = balance.next_state(state, terms)
        return distortion, squared_error, state

    @pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
    @pytest.mark.parametrize("target", [41.0, 50.0, 90.0])
    def test_it_reaches_a_distortion_from_both_sides(self, target, start):
        balance = Geco(distortion=target)
        distortion, _, state = self.settle(balance, start)
        assert distortion == pytest.approx(target, rel=0.02)
        assert balance.settled(state)

    @pytest.mark.parametrize("start", [1e-2, 1e2])
    @pytest.mark.parametrize(
        ("balance", "squared_error"),
        [
            (Geco(rmse=0.2), 16 * 0.04),
            (Geco(psnr=20.0), 16 * 0.01),
            (Geco(psnr=10.0), 16 * 0.1),
        ],
    )
    def test_it_reaches_an_rmse_and_a_psnr(self, balance, squared_error, start):
        reached = self.settle(balance, start)[1]
        assert math.sqrt(reached) == pytest.approx(math.sqrt(squared_error), rel=0.02)

    @pytest.mark.parametrize(("fall", "grows"), [(0.995, False), (0.9999, True)])
    def test_the_multiplier_does_not_wind_up_while_the_error_falls_by_itself(self, fall, grows):
        """Start 100 nats off; the error falls by half a percent a step, or hardly at all."""
        balance = Geco(distortion=50.0)
        state = balance.initial_state(RUN)
        for step in range(800):
            state = balance.next_state(state, terms_of(50.0 + 100 * fall**step, [1.0] * 4))
        assert (float(state["log_ratio"]) > 1.0) == grows

    def test_bits_per_dim_are_nats(self):
        nats = Geco(distortion=4.0 * 16 * math.log(2))
        assert run(Geco(bits_per_dim=4.0), 9)[1] == run(nats, 9)[1]

    @pytest.mark.parametrize(("target", "bound"), [(20.0, GECO_RATIOS[1]), (1e9, GECO_RATIOS[0])])
    def test_a_target_out_of_reach_drives_it_to_its_bound_unsettled(self, target, bound):
        balance = Geco(distortion=target, speed=0.1)
        _, _, state = self.settle(balance, 1.0)
        assert float(state["log_ratio"].exp()) == pytest.approx(bound, rel=1e-4)
        assert not balance.settled(state)
        verdict = balance.finding(state, epoch_of())
        assert verdict.name == OUT_OF_REACH
        assert f"target D {target:.4g} nats" in verdict.evidence
        assert ("raise the target" in verdict.remedy) == (bound > 1)

    def test_passing_the_target_is_not_holding_it(self):
        """Keep D within 2% by a multiplier that is far too large and still grows."""
        balance = Geco(distortion=50.0)
        state = balance.initial_state(RUN) | {"log_ratio": torch.tensor(7.0)}
        for _ in range(500):
            state = balance.next_state(state, terms_of(50.5, [1.0] * 4))
        assert not balance.settled(state)
        assert balance.finding(state, epoch_of()).name == NOT_HELD

    @pytest.mark.parametrize(
        ("balance", "target"), [(Geco(rmse=0.2), "RMSE 0.2"), (Geco(psnr=25.0), "25 dB")]
    )
    def test_an_obstacle_speaks_in_the_targets_unit(self, balance, target):
        state = balance.initial_state(RUN)
        for _ in range(5):
            state = balance.next_state(state, terms_of(50.0, [1.0] * 4, 16 * 0.25))
        evidence = balance.finding(state, epoch_of()).evidence
        assert f"the target {target}" in evidence
        assert ("RMSE 0.5" if "RMSE" in target else "6.021 dB") in evidence

    def test_it_is_not_settled_before_its_first_step(self):
        balance = Geco(distortion=50.0)
        assert not balance.settled(balance.initial_state(RUN))


class TestControlVae:
    """On a system whose R is known: 8/(0.2 + β)."""

    def settle(self, balance, start, steps=3000):
        state = balance.initial_state(RUN) | {"integral": torch.tensor(start)}
        rate = 10.0
        for _ in range(steps):
            terms = terms_of(90.0, [rate / 4] * 4)
            beta = float(balance.weights(state, terms).beta)
            state = balance.next_state(state, terms)
            rate += 0.05 * (8 / (0.2 + beta) - rate)
        return rate, beta, state

    @pytest.mark.parametrize("start", [0.0, 4.0])
    @pytest.mark.parametrize("target", [4.0, 10.0, 30.0])
    def test_it_reaches_a_rate_from_both_sides(self, target, start):
        balance = ControlVae(rate=target, ki=1e-3)
        rate, _, state = self.settle(balance, start)
        assert rate == pytest.approx(target, rel=0.02)
        assert balance.settled(state)

    def test_bits_are_nats(self):
        nats = ControlVae(rate=9.0 * math.log(2))
        assert run(ControlVae(rate_bits=9.0), 9)[1] == run(nats, 9)[1]

    def test_beta_is_the_published_formula_where_it_is_free(self):
        balance = ControlVae(rate=5.0, beta_min=0.5, ki=1e-4)
        state, total = balance.initial_state(RUN), 0.0
        for rate in (8.0, 7.0, 6.5, 4.9):
            terms = terms_of(90.0, [rate / 4] * 4)
            error = 5.0 - rate
            total += error
            expected = 0.01 / (1 + math.exp(error)) - 1e-4 * total + 0.5
            assert float(balance.weights(state, terms).beta) == pytest.approx(expected, rel=1e-5)
            state = balance.next_state(state, terms)

    @pytest.mark.parametrize(("wrong", "right"), [(300.0, 4.0), (0.0, 6.0)])
    def test_it_leaves_a_bound_as_soon_as_the_error_changes_its_sign(self, wrong, right):
        balance = ControlVae(rate=5.0, beta_max=2.0)
        saturated, turned = (terms_of(90.0, [rate / 4] * 4) for rate in (wrong, right))
        state = balance.initial_state(RUN)
        for _ in range(3_000):
            state = balance.next_state(state, saturated)
        bound = float(balance.weights(state, saturated).beta)
        assert bound == pytest.approx(2.0 if wrong > 5 else 0.0, abs=1e-3)
        assert not balance.settled(state)
        before = bound
        for _ in range(5):
            beta = float(balance.weights(state, turned).beta)
            assert beta < before if wrong > 5 else beta > before
            state, before = balance.next_state(state, turned), beta

    @pytest.mark.parametrize("rate", [0.0, 1e8])
    def test_an_extreme_error_stays_finite(self, rate):
        balance = ControlVae(rate=500.0)
        terms = terms_of(90.0, [rate / 4] * 4)
        assert torch.as_tensor(balance.weights(balance.initial_state(RUN), terms).beta).isfinite()

    @pytest.mark.parametrize(
        ("rate", "beta", "name", "knob"),
        [
            (60.0, 2.0, OUT_OF_REACH, "beta_max"),  # too much, and β can do no more
            (5.0, 0.0, OUT_OF_REACH, "beta_min"),  # too little, for nothing
            (60.0, 0.0, NOT_HELD, "train.epochs"),  # too much, and β only starts
            (20.0, 1.0, None, ""),
        ],
    )
    def test_its_obstacles(self, rate, beta, name, knob):
        balance = ControlVae(rate=20.0, beta_max=2.0)
        state = balance.initial_state(RUN)
        for _ in range(200):
            state = balance.next_state(state, terms_of(80.0, [rate / 4] * 4))
        verdict = balance.finding(state, epoch_of(rate=rate, beta=beta))
        assert (verdict.name if verdict else None) == name
        if verdict:
            assert f"R is {rate:g} nats and the target 20" in verdict.evidence
            assert knob in verdict.remedy
