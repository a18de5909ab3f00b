"""The VAE maps tensors to distributions."""

from typing import get_args

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaebalance.vae.likelihoods import Bernoulli, GaussianLearned, GaussianOptimal, Likelihood
from vaebalance.vae.model import VAE, Delta, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

SHAPE = (1, 8, 8)


def make(posterior: str = "gaussian", architecture=None, latents: int = 3) -> VAE:
    torch.manual_seed(0)
    spec = ModelSpec(
        architecture=architecture or Mlp(hidden=(16,)), latent_size=latents, posterior=posterior
    )
    return VAE(spec, Bernoulli(), SHAPE)


@pytest.mark.parametrize("architecture", [Mlp(hidden=(16,)), Conv(channels=(4, 8), hidden=(16,))])
@pytest.mark.parametrize("posterior", ["gaussian", "deterministic"])
def test_shapes(architecture, posterior):
    model = make(posterior, architecture)
    qz = model.encode(torch.rand(5, *SHAPE))
    assert (qz.batch_shape, qz.event_shape) == ((5,), (3,))
    assert qz.mean.shape == qz.stddev.shape == (5, 3)
    assert qz.rsample((2,)).shape == (2, 5, 3)
    px = model.decode(qz.rsample((2,)))
    assert (px.batch_shape, px.event_shape) == ((2, 5), SHAPE)
    assert model.prior.event_shape == (3,)


def test_decode_treats_leading_dimensions_alike():
    model = make()
    z = torch.randn(2, 4, 3)
    torch.testing.assert_close(model.decode(z).mean[1, 2], model.decode(z[1, 2:3]).mean[0])


def test_sampling_has_the_posteriors_moments():
    model = make()
    qz = model.encode(torch.rand(1, *SHAPE))
    z = qz.sample((40_000,))
    torch.testing.assert_close(z.mean(0), qz.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), qz.stddev, atol=0.03, rtol=0)


def test_the_rate_stays_finite_for_absurd_features():
    """Use log-variances whose exponential would overflow float32 without bounds."""
    model = make()
    with torch.no_grad():
        model.encoder[-1].bias[3:] = 1e4
    qz = model.encode(torch.rand(2, *SHAPE))
    assert kl_divergence(qz, model.prior).isfinite().all()


def test_the_autoencoder_has_a_code_and_no_rate():
    model = make("deterministic")
    x = torch.rand(5, *SHAPE)
    qz = model.encode(x)
    assert torch.equal(qz.rsample(), qz.mean)
    assert torch.equal(qz.variance, torch.zeros(5, 3))
    assert torch.equal(kl_divergence(qz.base_dist, model.prior.base_dist), torch.zeros(5, 3))


def test_delta_expands():
    delta = Delta(torch.tensor([1.0, 2.0])).expand(torch.Size([3, 2]))
    assert delta.mean.shape == (3, 2)
    assert kl_divergence(delta, Normal(torch.zeros(2), torch.ones(2))).shape == (3, 2)


def test_the_prior_follows_the_model_and_is_not_saved():
    model = make().to(torch.float64)
    assert model.prior.mean.dtype == torch.float64
    assert not any("prior" in name for name in model.state_dict())


EVERY_LIKELIHOOD = [member() for member in get_args(get_args(Likelihood)[0])]
WITH_NUMBERS_OF_THEIR_OWN = {
    "gaussian_learned": {"log_sigma"},
    "gaussian_optimal": {"variance", "steps"},
    "laplace_learned": {"log_scale"},
}


@pytest.mark.parametrize("likelihood", EVERY_LIKELIHOOD, ids=lambda member: member.kind)
def test_only_what_a_likelihood_learns_is_in_the_weights(likelihood):
    """Check that settings are not in the weights and do not change the initial weights."""
    spec = make().spec
    torch.manual_seed(0)
    model = VAE(spec, likelihood, SHAPE)
    names = set(likelihood.make_parameters().state_dict())
    assert names == WITH_NUMBERS_OF_THEIR_OWN.get(likelihood.kind, names)
    own = {f"likelihood_parameters.{name}" for name in names}
    assert model.state_dict().keys() == make().state_dict().keys() | own
    assert torch.equal(model.encoder[1].weight, make().encoder[1].weight)


@pytest.mark.parametrize("likelihood", EVERY_LIKELIHOOD, ids=lambda member: member.kind)
@pytest.mark.parametrize("architecture", [Mlp(hidden=(16,)), Conv(channels=(4,), hidden=(8,))])
def test_the_decoder_has_the_outputs_that_the_likelihood_reads(likelihood, architecture):
    shape = (3, 8, 8)
    spec = ModelSpec(architecture=architecture, latent_size=2, posterior="gaussian")
    model = VAE(spec, likelihood, shape)
    z = torch.randn(4, 5, 2)
    assert model.decoder(z[0]).shape == (5, likelihood.raw_channels(3), 8, 8)
    px = model.decode(z)
    assert (px.batch_shape, px.event_shape, px.mean.shape) == ((4, 5), shape, (4, 5, *shape))


def test_the_likelihoods_parameters_are_trained_and_its_mode_is_the_models():
    model = VAE(make().spec, GaussianLearned(), SHAPE)
    assert any(name == "likelihood_parameters.log_sigma" for name, _ in model.named_parameters())
    x = torch.rand(6, *SHAPE)
    (-model.decode(model.encode(x).mean).log_prob(x).mean()).backward()
    assert model.likelihood_parameters.get_parameter("log_sigma").grad.item() > 0  # σ = 1 is wide
    optimal = VAE(make().spec, GaussianOptimal(), SHAPE)
    for learn in (optimal.train, optimal.eval):
        learn()
        optimal.decode(optimal.encode(x).mean).log_prob(x)
    assert optimal.likelihood_parameters.get_buffer("steps").item() == 1
