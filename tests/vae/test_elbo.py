"""The loss: sums over dimensions, means over images, α·D + β·R."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from vaebalance.vae.elbo import (
    ElboTerms,
    Weights,
    elbo_terms,
    rate_by_latent,
    weighted_loss,
    weighted_terms,
)
from vaebalance.vae.likelihoods import Bernoulli, Gaussian
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

positive = st.floats(0.0, 100.0)


def make(likelihood=None) -> VAE:
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=(16,)), latent_size=3, posterior="gaussian")
    return VAE(spec, likelihood or Bernoulli(), (1, 4, 4))


@given(alpha=positive, beta=positive, seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_the_loss_is_alpha_d_plus_beta_r(alpha, beta, seed):
    generator = torch.Generator().manual_seed(seed)
    distortion = torch.rand(6, generator=generator, dtype=torch.float64) * 100
    rates = torch.rand(6, 4, generator=generator, dtype=torch.float64) * 5
    loss = weighted_loss(ElboTerms(distortion, rates), Weights(alpha, beta))
    mean_distortion = sum(distortion.tolist()) / 6
    mean_rate = sum(sum(row) for row in rates.tolist()) / 6
    assert loss.item() == pytest.approx(alpha * mean_distortion + beta * mean_rate, rel=1e-9)


def test_both_weights_may_differ_by_image():
    terms = ElboTerms(torch.tensor([5.0, 7.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    weights = Weights(torch.tensor([1.0, 2.0]), torch.tensor([[10.0], [100.0]]))
    expected = ((5.0 + 10.0 * 3.0) + (2.0 * 7.0 + 100.0 * 7.0)) / 2
    assert weighted_loss(terms, weights).item() == pytest.approx(expected)


def test_beta_may_differ_by_latent():
    terms = ElboTerms(torch.zeros(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    loss = weighted_loss(terms, Weights(1.0, torch.tensor([1.0, 10.0])))
    assert loss.item() == pytest.approx(1.0 * 2.0 + 10.0 * 3.0)


def test_the_rate_is_the_closed_form_with_its_minus_sign():
    """Compare with R = −½ Σ(1 + log σ² − μ² − σ²), which is ≥ 0."""
    mean, scale = torch.randn(7, 3), torch.rand(7, 3) + 0.1
    posterior = Independent(Normal(mean, scale), 1)
    prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    rates = rate_by_latent(posterior, prior)
    variance = scale.square()
    closed = -0.5 * (1 + variance.log() - mean.square() - variance)
    torch.testing.assert_close(rates, closed)
    assert (rates >= 0).all()
    torch.testing.assert_close(rates.sum(-1), kl_divergence(posterior, prior))


def test_the_rate_agrees_with_sampling():
    posterior = Independent(Normal(torch.tensor([[1.0, -0.5]]), torch.tensor([[0.5, 2.0]])), 1)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    torch.manual_seed(0)
    z = posterior.sample((200_000,))
    estimate = (posterior.log_prob(z) - prior.log_prob(z)).mean()
    assert rate_by_latent(posterior, prior).sum().item() == pytest.approx(estimate.item(), abs=0.02)


def test_terms_are_sums_over_the_image_not_means():
    """Double the pixels of the same kind, and expect twice the distortion."""
    model = make(Gaussian(sigma=1.0))
    x = torch.rand(5, 1, 4, 4)
    torch.manual_seed(1)
    terms = elbo_terms(model, x)
    torch.manual_seed(1)
    px = model.decode(model.encode(x).rsample())
    pixelwise = -Normal(px.mean, 1.0).log_prob(x)
    torch.testing.assert_close(terms.distortion, pixelwise.sum(dim=(1, 2, 3)))
    assert terms.rate.shape == terms.negative_elbo.shape == (5,)
    torch.testing.assert_close(terms.negative_elbo, terms.distortion + terms.rate)


def test_the_gradient_of_the_loss_is_the_weighted_sum_of_the_terms_gradients():
    model = make()
    x = torch.rand(5, 1, 4, 4)
    parameters = list(model.parameters())

    def gradients(alpha, beta):
        torch.manual_seed(3)
        loss = weighted_loss(elbo_terms(model, x), Weights(alpha, beta))
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        zeros = [torch.zeros_like(p) for p in parameters]
        return [z if g is None else g for g, z in zip(found, zeros, strict=True)]

    both, only_d, only_r = gradients(2.0, 0.5), gradients(1.0, 0.0), gradients(0.0, 1.0)
    for combined, d, r in zip(both, only_d, only_r, strict=True):
        torch.testing.assert_close(combined, 2.0 * d + 0.5 * r, atol=1e-6, rtol=1e-4)


class Unaskable(Normal):
    """A distribution of pixels whose mean must not be computed."""

    @property
    def mean(self):
        raise AssertionError("the squared error was computed without need")


def test_the_squared_error_is_the_sum_over_the_image_and_has_no_graph():
    model = make(Gaussian(sigma=0.5))
    x = torch.rand(5, 1, 4, 4)
    terms = elbo_terms(model, x)
    squared_error = terms.squared_error
    assert squared_error.shape == (5,)
    assert not squared_error.requires_grad
    # D = ‖x − x̂‖²/(2σ²) + (n/2)·log(2πσ²)
    constant = 8 * torch.log(torch.tensor(2 * torch.pi * 0.25))
    torch.testing.assert_close(squared_error / 0.5 + constant, terms.distortion)
    torch.testing.assert_close(terms.detach().squared_error, squared_error)


def test_the_squared_error_is_computed_for_those_who_ask():
    rates = torch.ones(2, 3, requires_grad=True)
    likelihood = Unaskable(torch.zeros(2, 1, 4, 4), 1.0)
    terms = ElboTerms(torch.ones(2), rates, likelihood, torch.zeros(2, 1, 4, 4))
    weighted_loss(terms, Weights(1.0, 1.0)).backward()
    assert terms.detach().negative_elbo.tolist() == [4.0, 4.0]
    with pytest.raises(AssertionError, match="without need"):
        _ = terms.squared_error


def test_terms_without_an_image_have_no_squared_error():
    with pytest.raises(ValueError, match="likelihood and x"):
        _ = ElboTerms(torch.ones(2), torch.ones(2, 3)).squared_error


def test_weighted_terms_add_up_and_detach_cuts_the_graph():
    model = make()
    terms = elbo_terms(model, torch.rand(5, 1, 4, 4))
    weights = Weights(2.0, 0.5)
    torch.testing.assert_close(sum(weighted_terms(terms, weights)), weighted_loss(terms, weights))
    assert terms.distortion.requires_grad
    assert not terms.detach().distortion.requires_grad
