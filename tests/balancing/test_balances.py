"""Every balance: the conformance suite and the published losses."""

import io
import re
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.distributions import Independent, Normal

from tests.helpers.balance_steps import RUN, epoch_of, follow, run, terms_at
from vaebalance.balancing import (
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
)
from vaebalance.vae.elbo import ElboTerms, Weights, elbo_terms, weighted_loss
from vaebalance.vae.likelihoods import Bernoulli, Gaussian
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

MEMBERS = get_args(get_args(Balance)[0])
EXAMPLES = [
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
]


def same(first, second):
    """Return whether two lists of weights are equal to the bit."""
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        for one, other in pairs
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_the_suite_has_an_example_of(member):
    assert member in {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("balance", EXAMPLES, ids=lambda b: f"{b.kind}-{EXAMPLES.index(b)}")
class TestConformance:
    def test_a_step_with_it_can_be_compiled(self, balance, step_compiled):
        torch.testing.assert_close(*step_compiled(balance=balance), rtol=1e-4, atol=1e-5)

    def test_weights_are_finite_and_none_is_negative_but_capacitys_beta(self, balance):
        for weights in run(balance, 60)[0]:
            alpha, beta = map(torch.as_tensor, weights)
            assert alpha.isfinite()
            assert alpha >= 0
            assert beta.isfinite().all()
            assert (beta >= 0).all() or isinstance(balance, Capacity)
            assert alpha.shape == ()
            assert beta.shape in {(), (4,)}
            assert weighted_loss(terms_at(0), weights).shape == ()

    def test_state_is_explicit_and_tensors_only(self, balance):
        """Check that two runs from the initial state agree, and that names and types stay."""
        (first, state), (second, _) = run(balance, 7), run(balance, 7)
        assert same(first, second)
        start = balance.initial_state(RUN)
        assert {name: (v.shape, v.dtype) for name, v in state.items()} == {
            name: (v.shape, v.dtype) for name, v in start.items()
        }

    def test_a_state_saved_and_loaded_goes_on_exactly(self, balance):
        whole, _ = run(balance, 12)
        _, state = run(balance, 5)
        files = [io.BytesIO(), io.BytesIO()]
        for file in files:
            torch.save(run(balance, 5)[1], file)
        assert files[0].getvalue() == files[1].getvalue()
        files[0].seek(0)
        loaded = torch.load(files[0], weights_only=True)
        assert loaded.keys() == state.keys()
        assert same(follow(balance, loaded, range(5, 12))[0], whole[5:])

    def test_next_state_leaves_the_old_one_alone(self, balance):
        state = balance.initial_state(RUN)
        before = {name: value.clone() for name, value in state.items()}
        balance.next_state(state, terms_at(0))
        assert all(torch.equal(state[name], before[name]) for name in before)

    def test_it_says_whether_it_is_settled(self, balance):
        for steps in (0, 1, 60):
            settled = balance.settled(run(balance, steps)[1])
            assert settled.shape == ()
            assert settled.dtype == torch.bool

    def test_learners_can_be_stacked(self, balance):
        """Check in vmap that no number leaves its tensor: branching on data would fail there."""
        states = [run(balance, steps)[1] for steps in (3, 30)]
        batches = [terms_at(1), terms_at(2)]

        def step(state, distortion, rates, mean):
            likelihood = Independent(Normal(mean, 1.0, validate_args=False), 3, validate_args=False)
            terms = ElboTerms(distortion, rates, likelihood, torch.zeros(5, 1, 4, 4))
            weights = Weights(*map(torch.as_tensor, balance.weights(state, terms)))
            return weights, balance.next_state(state, terms), balance.settled(state)

        stacked = {name: torch.stack([s[name] for s in states]) for name in states[0]}
        inputs = [(t.distortion, t.rate_by_latent, t.likelihood.mean) for t in batches]
        together, after, _ = torch.vmap(step)(stacked, *map(torch.stack, zip(*inputs, strict=True)))
        for index, (state, terms) in enumerate(zip(states, batches, strict=True)):
            for mine, alone in zip(together, balance.weights(state, terms), strict=True):
                torch.testing.assert_close(mine[index], torch.as_tensor(alone))
            for name, value in balance.next_state(state, terms).items():
                torch.testing.assert_close(after[name][index], value)

    def test_its_advice_names_knobs_that_there_are(self, balance):
        state = run(balance, 60)[1]
        obstacle = balance.obstacle(state, epoch_of(beta=0.0))
        advice = [balance.for_more_rate, balance.for_less_rate]
        advice += [] if obstacle is None else [obstacle.remedy]
        for text in advice:
            knobs = re.findall(r"\bbalance\.(\w+)", text)
            assert set(knobs) <= set(type(balance).model_fields), text

    def test_it_survives_its_dump(self, balance):
        adapter = TypeAdapter(Balance)
        assert adapter.validate_json(adapter.dump_json(balance)) == balance


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


def make_model(likelihood=None) -> VAE:
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=(16,)), latent_size=4, posterior="gaussian")
    return VAE(spec, likelihood or Bernoulli(), (1, 4, 4))


def gradients(model, loss):
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g
        for g, p in zip(grads, model.parameters(), strict=True)
    ]


class TestPublishedLosses:
    """The weighted loss has the gradient of the published loss on a model's terms."""

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
        """Compare gradients with λ between the groups' rates: some are free and some are not."""
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
        """Compare the gradient of α·D with that of (n/2)·log MSE, whatever σ is."""
        facts = RunFacts(16, 4, 40, 4, sigma=sigma)
        balance = OptimalSigma(beta=0.5)

        def published(t):
            mse = (t.x - t.likelihood.mean).square().mean()
            return 8 * mse.log() + 0.5 * t.rate.mean()

        self.agree(balance, published, Gaussian(sigma=sigma), balance.initial_state(facts))


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
