"""Weights in other conventions: the published equivalents, round trips, and equal gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.conventions import (
    CROSS_ENTROPY,
    SQUARED_ERROR,
    Convention,
    Scene,
    effective_variance,
    translate,
)
from vaebalance.elbo import Weights, elbo_terms, weighted_loss
from vaebalance.likelihoods import AbstractLikelihood, Bernoulli, Gaussian, Rmse
from vaebalance.model import VAE, ModelSpec
from vaebalance.networks import Mlp

MNIST = Scene(dimensions=784, latent_size=20, rmse=0.11)
SIZES = st.floats(1e-6, 1e6)


def find(loss: str) -> Convention:
    (found,) = [c for c in (*SQUARED_ERROR, *CROSS_ENTROPY) if c.loss == loss]
    return found


def value(likelihood: AbstractLikelihood, alpha: float, beta: float, scene: Scene, loss: str):
    (row,) = [r for r in translate(likelihood, alpha, beta, scene).rows if r.loss == loss]
    return row.value


@pytest.mark.parametrize(
    ("loss", "weight", "scene", "beta"),
    [
        # What well-known defaults mean as β in ½·SSE + β·KL, from those projects' code.
        ("½·SSE + β·KL", 4.0, MNIST, 4.0),  # pythae, MultiVae
        ("SSE + β·KL", 4.0, MNIST, 2.0),  # 1Konny, disentanglement_lib (L2)
        ("255·SSE + β·KL", 4.0, MNIST, 4 / 510),  # disentangling-vae (gaussian)
        ("MSE + w·KL/Z", 0.1, Scene(32 * 32 * 3, 256, 0.1), 0.6),  # bolts
        ("MSE + w·KL", 0.00025, Scene(64 * 64 * 3, 128, 0.1), 1.536),  # AntixK, training
        ("MSE + w·KL", 1.0, Scene(64 * 64 * 3, 128, 0.1), 6144.0),  # AntixK, validation
        ("MSE + w·KL", 4.0, Scene(256 * 256 * 3, 128, 0.1), 393_216.0),  # KL summed over 4 images
    ],
)
def test_published_defaults(loss, weight, scene, beta):
    assert find(loss).balance(weight, scene) == pytest.approx(beta)
    assert find(loss).translate(beta, scene) == pytest.approx(weight)


def test_variance_in_closed_form():
    for alpha in (0.1, 3.0, 250.0):
        n = MNIST.dimensions
        assert find("α·SSE + KL").balance(alpha, MNIST) == pytest.approx(1 / (2 * alpha))
        assert find("α·MSE + KL").balance(alpha, MNIST) == pytest.approx(n / (2 * alpha))
        assert find("α·RMSE + KL").balance(alpha, MNIST) == pytest.approx(n * 0.11 / alpha)
        assert find("SSE/(2σ²) + KL").balance(alpha, MNIST) == pytest.approx(alpha**2)


def test_calibrated_rmse_weight_makes_sigma_the_rmse():
    alpha = MNIST.dimensions / MNIST.rmse
    assert effective_variance(Rmse(), alpha, 1.0, MNIST) == pytest.approx(MNIST.rmse**2)
    assert f"n/RMSE = {alpha:,.0f}" in translate(Rmse(), 5.0, 1.0, MNIST).summary


@given(st.sampled_from([*SQUARED_ERROR, *CROSS_ENTROPY]), SIZES, st.integers(1, 10**6), SIZES)
def test_round_trips(convention, weight, dimensions, rmse):
    scene = Scene(dimensions, 7, rmse)
    there = convention.balance(weight, scene)
    assert convention.translate(there, scene) == pytest.approx(weight, rel=1e-9)


@given(SIZES, SIZES, SIZES)
def test_own_convention_gives_own_weights_back(alpha, beta, common):
    """Only the ratio counts."""
    assert value(Rmse(), alpha, beta, MNIST, "α·RMSE + KL") == pytest.approx(alpha / beta)
    assert value(Bernoulli(), alpha, beta, MNIST, "BCE + β·KL") == pytest.approx(beta / alpha)
    scaled = translate(Gaussian(sigma=0.2), common * alpha, common * beta, MNIST)
    for a, b in zip(
        scaled.rows, translate(Gaussian(sigma=0.2), alpha, beta, MNIST).rows, strict=True
    ):
        assert a.value == pytest.approx(b.value)


def test_sigma_of_a_gaussian_is_its_own_at_equal_weights():
    assert translate(Gaussian(sigma=0.3), 2.0, 2.0, MNIST).sigma == pytest.approx(0.3)
    assert translate(Gaussian(sigma=0.3), 1.0, 4.0, MNIST).sigma == pytest.approx(0.6)
    assert translate(Bernoulli(), 1.0, 4.0, MNIST).sigma is None
    assert "no σ" in translate(Bernoulli(), 1.0, 4.0, MNIST).summary


@pytest.mark.parametrize(("alpha", "beta", "word"), [(0.0, 1.0, "α = 0"), (1.0, 0.0, "β = 0")])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(), Rmse()])
def test_nothing_to_balance(alpha, beta, word, likelihood):
    found = translate(likelihood, alpha, beta, MNIST)
    assert found.rows == ()
    assert word in found.summary


def losses(sse, kl, bce, n, z):
    """Each convention's loss as its users write it; sums of one image, averaged over images."""
    mse, rmse = sse / n, (sse / n).sqrt()
    return {
        "SSE/(2σ²) + KL": lambda w: (sse / (2 * w**2) + kl).mean(),
        "α·SSE + KL": lambda w: (w * sse + kl).mean(),
        "α·MSE + KL": lambda w: (w * mse + kl).mean(),
        "α·RMSE + KL": lambda w: (w * rmse + kl).mean(),
        "½·SSE + β·KL": lambda w: (sse / 2 + w * kl).mean(),
        "SSE + β·KL": lambda w: (sse + w * kl).mean(),
        "255·SSE + β·KL": lambda w: (255 * sse + w * kl).mean(),
        "MSE + w·KL": lambda w: (mse + w * kl).mean(),
        "MSE + w·KL/Z": lambda w: (mse + w * kl / z).mean(),
        "BCE + β·KL": lambda w: (bce + w * kl).mean(),
        "α·BCE + KL": lambda w: (w * bce + kl).mean(),
        "BCE/n + w·KL": lambda w: (bce / n + w * kl).mean(),
        "BCE + (β_norm·n/Z)·KL": lambda w: (bce + w * n / z * kl).mean(),
    }


@pytest.mark.parametrize(
    ("likelihood", "alpha", "beta"),
    [(Bernoulli(), 2.0, 3.0), (Gaussian(sigma=0.15), 2.0, 3.0), (Rmse(), 40.0, 0.7)],
    ids=lambda v: getattr(v, "kind", None),
)
def test_gradient_points_the_same_way(likelihood, alpha, beta):
    """One image, so that its RMSE is the operating point: every row is this run's loss, scaled."""
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=(8,)), latent_size=3, posterior="gaussian")
    model = VAE(spec, likelihood, (1, 4, 5))
    x = torch.rand(1, 1, 4, 5)
    parameters = list(model.parameters())

    def direction(loss):
        gradients = torch.autograd.grad(loss, parameters)
        flat = torch.cat([g.flatten() for g in gradients]).double()
        return flat / flat.norm()

    def pieces():
        torch.manual_seed(1)  # the same posterior sample
        posterior = model.encode(x)
        raw = model.decoder(posterior.rsample())
        sse = (torch.sigmoid(raw) - x).square().flatten(1).sum(1)
        bce = torch.nn.functional.binary_cross_entropy_with_logits(raw, x, reduction="none")
        mean, scale = posterior.base_dist.loc, posterior.base_dist.scale
        kl = 0.5 * (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(1)
        return sse, kl, bce.flatten(1).sum(1)

    torch.manual_seed(1)
    mine = direction(weighted_loss(elbo_terms(model, x), Weights(alpha, beta)))
    sse, _, _ = pieces()
    scene = Scene(dimensions=20, latent_size=3, rmse=math.sqrt(float(sse.detach()) / 20))
    rows = translate(likelihood, alpha, beta, scene).rows
    assert len(rows) >= 4
    for row in rows:
        theirs = direction(losses(*pieces(), 20, 3)[row.loss](row.value))
        assert float(mine @ theirs) == pytest.approx(1, abs=1e-5), row.loss
