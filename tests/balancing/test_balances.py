"""Every balance: the conformance suite, then each rule's own mathematics."""

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.distributions import Independent, Normal

from tests.helpers.members import examples
from vaebalance.balancing.balances import (
    GECO_RATIOS,
    NOT_HELD,
    OUT_OF_REACH,
    UNFINISHED,
    Balance,
    Capacity,
    ControlVae,
    Cyclical,
    Fixed,
    FreeBits,
    Geco,
    OptimalSigma,
    RunFacts,
    WarmUp,
    ramp,
)
from vaebalance.base.reports import SplitReport
from vaebalance.testing import check_balance
from vaebalance.vae.elbo import ElboTerms, elbo_terms, weighted_loss
from vaebalance.vae.likelihoods import Bernoulli, Gaussian
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

EXAMPLES = examples(
    Balance,
    Fixed(alpha=2.0, beta=0.5),
    WarmUp(beta=4.0, steps=10),
    WarmUp(of="alpha", alpha=3.0, start=0.5, shape="sigmoid"),
    WarmUp(start=4.0, shape="cosine", share=1.0),
    Cyclical(cycles=3, shape="cosine"),
    FreeBits(nats=1.0),
    FreeBits(nats=2.0, group_size=2),
    Capacity(capacity=5.0),
    Geco(distortion=80.0),
    Geco(bits_per_dim=3.0),
    Geco(rmse=0.2),
    Geco(psnr=20.0),
    ControlVae(rate=5.0),
    ControlVae(rate_bits=5.0, beta_min=0.1, beta_max=2.0),
    OptimalSigma(beta=0.5),
)
RUN = RunFacts(dimensions=16, latent_size=4, steps=40, steps_per_epoch=4, sigma=0.5)


def terms_of(distortion, rates, squared_error=1.0) -> ElboTerms:
    """Terms of 5 images: D, R by latent, ‖x − x̂‖² of each."""
    off = math.sqrt(squared_error / RUN.dimensions)
    mean = torch.full((5, 1, 4, 4), off)
    likelihood = Independent(Normal(mean, 1.0, validate_args=False), 3, validate_args=False)
    return ElboTerms(
        torch.full((5,), float(distortion)),
        torch.as_tensor(rates).float().expand(5, -1),
        likelihood,
        torch.zeros(5, 1, 4, 4),
    )


def terms_at(step) -> ElboTerms:
    """Another batch's terms at each step."""
    generator = torch.Generator().manual_seed(step)
    rates = 3 * torch.rand(4, generator=generator)
    return terms_of(60 + 60 * torch.rand((), generator=generator), rates, 0.5 + step % 3)


def epoch_of(**values) -> SplitReport:
    """An epoch's means with ordinary values but for `values`."""
    ordinary = {"distortion": 80.0, "rate": 20.0, "alpha": 1.0, "beta": 1.0}
    rest = ("weighted_distortion", "weighted_rate", "weighted_loss", "negative_elbo")
    return SplitReport(**dict.fromkeys(rest, 1.0) | ordinary | values)


def follow(balance, state, steps):
    used = []
    for step in steps:
        used.append(balance.weights(state, terms_at(step)))
        state = balance.next_state(state, terms_at(step))
    return used, state


def run(balance, steps):
    return follow(balance, balance.initial_state(RUN), range(steps))


every_example = pytest.mark.parametrize(
    "balance", EXAMPLES, ids=lambda b: f"{b.kind}-{EXAMPLES.index(b)}"
)


@every_example
def test_every_example_meets_the_requirements(balance):
    check_balance(balance)


@every_example
def test_a_step_with_it_can_be_compiled(balance, step_compiled):
    torch.testing.assert_close(*step_compiled(balance=balance), rtol=1e-4, atol=1e-5)


def test_fixed_never_moves():
    assert set(run(Fixed(alpha=2.0, beta=0.5), 9)[0]) == {(2.0, 0.5)}


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "fixed", "beta": -1.0},
        {"kind": "fixed", "alpha": float("nan")},
        {"kind": "fixed", "alpha": float("inf")},
        {"kind": "fixed", "beta": "1"},
        {"kind": "fixed", "betta": 3.0},
        {"kind": "fixed", "alpha": 0.0, "beta": 0.0},
        {"kind": "warm_up", "steps": 0},
        {"kind": "warm_up", "share": 1.5},
        {"kind": "warm_up", "shape": "square"},
        {"kind": "cyclical", "ramp": 0.0},
        {"kind": "cyclical", "cycles": 0},
        {"kind": "capacity"},
        {"kind": "geco"},
        {"kind": "geco", "rmse": 0.1, "psnr": 20.0},
        {"kind": "geco", "rmse": 0.0},
        {"kind": "control_vae"},
        {"kind": "control_vae", "rate": 5.0, "rate_bits": 5.0},
        {"kind": "control_vae", "rate": 5.0, "beta_min": 2.0, "beta_max": 1.0},
        {"kind": "optimal_sigma", "alpha": 1.0},
    ],
)
def test_impossible_values_are_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(Balance).validate_python(values)


def test_two_targets_are_named():
    with pytest.raises(ValidationError, match=r"exactly one target .* given: distortion, rmse"):
        Geco(distortion=90.0, rmse=0.1)


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
        found = ramp(shape, torch.tensor(places)).tolist()
        assert found == pytest.approx([formula(min(1, max(0, t))) for t in places], abs=1e-6)
        assert (found[0], found[-1]) == pytest.approx((0.0, 1.0), abs=1e-7)
        assert found == sorted(found)

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
        """β changes sign where the rate of 5 nats meets C = 10·step/20."""
        balance = Capacity(capacity=10.0, gamma=7.0, steps=20)
        state, betas = balance.initial_state(RUN), []
        terms = terms_of(90.0, [1.25] * 4)
        for _ in range(30):
            betas.append(float(balance.weights(state, terms).beta))
            state = balance.next_state(state, terms)
        assert betas == [7.0] * 10 + [0.0] + [-7.0] * 19


def logistic(x):
    return 1 / (1 + math.exp(-x))


def make_model(likelihood=None) -> VAE:
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=(16,)), latent_size=4, posterior="gaussian")
    return VAE(spec, likelihood or Bernoulli(), (1, 4, 4))


def gradients(model, loss):
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g
        for g, p in zip(found, model.parameters(), strict=True)
    ]


class TestPublishedLosses:
    """The weighted loss has the gradient of the loss in the paper, on a model's terms."""

    def agree(self, balance, published, likelihood=None, state=None):
        model = make_model(likelihood)
        terms = elbo_terms(model, 3 * torch.rand(6, 1, 4, 4))
        state = state or balance.initial_state(RUN)
        ours = weighted_loss(terms, balance.weights(state, terms.detach()))
        expected = gradients(model, published(terms))  # (frees no graph: two terms share it)
        for mine, theirs in zip(gradients(model, ours), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)

    @pytest.fixture(autouse=True)
    def _keep_graphs(self, monkeypatch):
        grad = torch.autograd.grad
        monkeypatch.setattr(
            torch.autograd, "grad", lambda *a, **options: grad(*a, retain_graph=True, **options)
        )

    @pytest.mark.parametrize("capacity", [0.0, 1e-3, 50.0])
    def test_capacity(self, capacity):
        balance = Capacity(capacity=capacity, gamma=30.0, steps=1)
        state = balance.next_state(balance.initial_state(RUN), terms_at(0))
        self.agree(
            balance,
            lambda t: t.distortion.mean() + 30.0 * (t.rate.mean() - capacity).abs(),
            state=state,
        )

    @pytest.mark.parametrize("size", [1, 2, 4])
    def test_free_bits(self, size):
        """λ lies between the groups' rates, so that some are free and some are not."""
        terms = elbo_terms(make_model(), 3 * torch.rand(6, 1, 4, 4))
        rates = terms.rate_by_latent.detach().mean(0).reshape(-1, size).sum(1).sort().values
        nats = float(rates[0]) * 0.5 if size == 4 else float(rates[: 4 // size // 2 + 1].mean())

        def published(t):
            groups = t.rate_by_latent.reshape(6, -1, size).sum(2).mean(0)
            free = int((groups < nats).sum())
            assert 0 < free < len(groups) or size == 4
            return t.distortion.mean() + 2.0 * groups.clamp(min=nats).sum()

        self.agree(FreeBits(nats=nats, group_size=size, beta=2.0), published)

    @pytest.mark.parametrize("sigma", [0.05, 1.0])
    def test_optimal_sigma(self, sigma):
        """α·D has the gradient of (n/2)·log MSE whatever σ is."""
        facts = RunFacts(16, 4, 40, 4, sigma=sigma)
        balance = OptimalSigma(beta=0.5)

        def published(t):
            mse = (t.x - t.likelihood.mean).square().mean()
            return 8 * mse.log() + 0.5 * t.rate.mean()

        self.agree(balance, published, Gaussian(sigma=sigma), balance.initial_state(facts))


def test_a_groups_latents_are_free_together():
    weights = FreeBits(nats=2.0, group_size=2, beta=3.0).weights(
        {}, terms_of(90.0, [0.1, 2.0, 0.9, 1.0])
    )
    assert weights.beta.tolist() == [3.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("balance", "likelihood", "words"),
    [
        (FreeBits(group_size=3), Bernoulli(), "group_size = 3 does not divide model.latent_size"),
        (OptimalSigma(), Bernoulli(), "set likelihood to {kind: gaussian}"),
        (Geco(bits_per_dim=3.0), Gaussian(), "balance.bits_per_dim = 3: bits/dim is defined"),
        (FreeBits(group_size=2), Bernoulli(), None),
        (OptimalSigma(), Gaussian(), None),
        (Geco(bits_per_dim=3.0), Bernoulli(), None),
        (Geco(rmse=0.1), Gaussian(), None),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(balance, likelihood, words):
    misfit = balance.misfit(likelihood, 4, binarised=True)
    assert (misfit is None) == (words is None)
    assert words is None or words in misfit


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
        """D, ‖x − x̂‖² and the state after so many steps from λ = start."""
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
        found = self.settle(balance, start)[1]
        assert math.sqrt(found) == pytest.approx(math.sqrt(squared_error), rel=0.02)

    @pytest.mark.parametrize(("fall", "grows"), [(0.995, False), (0.9999, True)])
    def test_the_multiplier_does_not_wind_up_while_the_error_falls_by_itself(self, fall, grows):
        """From 100 nats off, by half a percent a step, or by next to nothing."""
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
        """D within 2%, by a multiplier that is far too large and still grows."""
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
        """The state after the run, in which each nat of C saves `worth` nats of D."""
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
