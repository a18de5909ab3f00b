"""Every balance: the conformance suite and the published losses."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from tests.helpers.balance_steps import RUN, terms_at
from tests.helpers.members import examples
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
from vaebalance.testing import check_balance
from vaebalance.vae.elbo import elbo_terms, weighted_loss
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


every_example = pytest.mark.parametrize(
    "balance", EXAMPLES, ids=lambda b: f"{b.kind}-{EXAMPLES.index(b)}"
)


@every_example
def test_every_example_meets_the_requirements(balance):
    check_balance(balance)


@every_example
def test_a_step_with_it_can_be_compiled(balance, step_compiled):
    torch.testing.assert_close(*step_compiled(balance=balance), rtol=1e-4, atol=1e-5)


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
