"""The VAE's contract: distributions in and out."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vaebalance.likelihoods import Bernoulli, Gaussian
from vaebalance.model import VAE, Delta, ModelSpec
from vaebalance.networks import Conv, Mlp

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
    """The exponential of an unbounded log-variance would leave float32."""
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


def test_a_learning_rate_away_from_default_init_changes_only_parameters():
    """The likelihood is a setting, no parameter: it is not in the weights file."""
    gaussian = VAE(make().spec, Gaussian(sigma=0.1), SHAPE)
    assert gaussian.state_dict().keys() == make().state_dict().keys()
