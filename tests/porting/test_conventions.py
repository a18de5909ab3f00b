"""Other projects' losses, written out literally, against our α·D + β·R with the ported numbers.

The strongest check: the gradients point the same way. Then the figures that were published, round
trips, and what is refused.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.porting.conventions import CONVENTIONS, Convention, Scene, find, port, translate
from vaebalance.vae.elbo import Weights, elbo_terms, weighted_loss
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, Laplace, Rmse
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

SHAPE = (3, 4, 5)
N, Z, B = 60, 4, 6
SEED = 11
NAMES = [convention.name for convention in CONVENTIONS]


@dataclass(frozen=True)
class Pass:
    """A forward pass in a project's own pixels: all [B, ...]."""

    recon: Tensor
    x: Tensor
    mu: Tensor
    log_var: Tensor


def kl(p: Pass) -> Tensor:
    """[B, Z]."""
    return -0.5 * (1 + p.log_var - p.mu**2 - p.log_var.exp())


def per_image(p: Pass) -> Tensor:
    """[B]: the KL summed over latents."""
    return torch.sum(kl(p), dim=1)


def pixel_errors(p: Pass) -> Tensor:
    """[B, n]."""
    return F.mse_loss(p.recon.flatten(1), p.x.flatten(1), reduction="none")


def disvae_gaussian(p: Pass, beta: float) -> Tensor:
    """disvae/models/losses.py: in [0, 255] space, divided by 255; KL: mean(0), then sum."""
    loss = F.mse_loss(p.recon * 255, p.x * 255, reduction="sum") / 255 / len(p.x)
    return loss + beta * kl(p).mean(dim=0).sum()


def diffusers(p: Pass, kl_scale: float, error: Callable[..., Tensor]) -> Tensor:
    """train_autoencoderkl.py without its perceptual and adversarial terms."""
    rec = error(p.recon, p.x, reduction="none")
    return torch.sum(rec) / rec.shape[0] + kl_scale * torch.sum(per_image(p)) / len(p.x)


def keras(p: Pass, beta: float) -> Tensor:
    """binary_crossentropy is a mean over the last axis, channels; then sums over rows, columns."""
    pixels = F.binary_cross_entropy(p.recon, p.x, reduction="none").movedim(1, -1).mean(-1)
    return pixels.sum(dim=(1, 2)).mean() + beta * per_image(p).mean()


def bce_sum(p: Pass) -> Tensor:
    return F.binary_cross_entropy(p.recon, p.x, reduction="sum")


PUBLISHED: dict[str, Callable[[Pass, float], Tensor]] = {
    "sigma": lambda p, w: (
        -torch.distributions.Normal(p.recon, w).log_prob(p.x).sum() / len(p.x) + per_image(p).mean()
    ),
    "alpha-sse": lambda p, w: w * pixel_errors(p).sum(1).mean() + per_image(p).mean(),
    "alpha-mse": lambda p, w: w * F.mse_loss(p.recon, p.x) + per_image(p).mean(),
    "alpha-rmse": lambda p, w: w * pixel_errors(p).mean(1).sqrt().mean() + per_image(p).mean(),
    "alpha-rmse-batch": lambda p, w: w * F.mse_loss(p.recon, p.x).sqrt() + per_image(p).mean(),
    "pythae-mse": lambda p, w: (0.5 * pixel_errors(p).sum(dim=-1) + w * per_image(p)).mean(dim=0),
    "1konny-gaussian": lambda p, w: (
        F.mse_loss(p.recon, p.x, reduction="sum").div(len(p.x)) + w * kl(p).sum(1).mean()
    ),
    "disentangling-vae-gaussian": disvae_gaussian,
    "antixk": lambda p, w: F.mse_loss(p.recon, p.x) + w * torch.mean(per_image(p), dim=0),
    "antixk-validation": lambda p, w: F.mse_loss(p.recon, p.x) + w * torch.mean(per_image(p)),
    "bolts": lambda p, w: kl(p).mean() * w + F.mse_loss(p.recon, p.x, reduction="mean"),
    "mse-mean-kl-sum": lambda p, w: F.mse_loss(p.recon, p.x) + w * torch.sum(kl(p)),
    "diffusers-l2": lambda p, w: diffusers(p, w, F.mse_loss),
    "disentangling-vae-laplace": lambda p, w: (
        F.l1_loss(p.recon, p.x, reduction="sum") / len(p.x) + w * kl(p).mean(dim=0).sum()
    ),
    "diffusers-l1": lambda p, w: diffusers(p, w, F.l1_loss),
    "pythae-bce": lambda p, w: bce_sum(p) / len(p.x) + w * per_image(p).mean(dim=0),
    "torch-example": lambda p, w: bce_sum(p) + w * torch.sum(kl(p)),
    "keras-example": keras,
    "alpha-bce": lambda p, w: w * bce_sum(p) / len(p.x) + per_image(p).mean(),
    "bce-mean": lambda p, w: F.binary_cross_entropy(p.recon, p.x) + w * per_image(p).mean(),
    "bce-mean-kl-sum": lambda p, w: F.binary_cross_entropy(p.recon, p.x) + w * torch.sum(kl(p)),
    "beta-norm": lambda p, w: bce_sum(p) / len(p.x) + w * N / Z * per_image(p).mean(),
}


def make(likelihood) -> VAE:
    """Build a linear VAE in float64."""
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=()), latent_size=Z, posterior="gaussian")
    return VAE(spec, likelihood, SHAPE).double()


def images() -> Tensor:
    return torch.rand(B, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def forward(model: VAE, x: Tensor, span: float) -> Pass:
    """Its own forward pass, by `elbo_terms`'s noise; a span of 2 is −1…1."""
    mu, log_var = model.encoder(x).chunk(2, dim=-1)
    torch.manual_seed(SEED)
    z = mu + (0.5 * log_var).exp() * torch.normal(torch.zeros_like(mu), torch.ones_like(mu))
    recon = torch.sigmoid(model.decoder(z))
    low = -1.0 if span == 2 else 0.0
    return Pass(recon * span + low, x * span + low, mu, log_var)


def gradient(model: VAE, loss: Tensor) -> Tensor:
    weights = list(model.encoder.parameters()) + list(model.decoder.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def theirs(convention: Convention, weight: float, span: float) -> tuple[Tensor, float]:
    """Compute the gradient of their loss, and the RMSE of the batch in pixels of the unit range."""
    model = make(Gaussian())
    found = forward(model, images(), span)
    rmse = F.mse_loss(found.recon, found.x).sqrt().item() / span
    return gradient(model, PUBLISHED[convention.name](found, weight)), rmse


def ours(convention: Convention, weight: float, scene: Scene) -> Tensor:
    """Compute the gradient of α·D + β·R with the ported likelihood and weights."""
    ported = port(convention, weight, scene)
    model = make(ported.likelihood)
    torch.manual_seed(SEED)
    terms = elbo_terms(model, images())
    return gradient(model, weighted_loss(terms, Weights(ported.alpha, ported.beta)))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a, b, dim=0))


def scene(rmse: float | None = None, span: float | None = None) -> Scene:
    return Scene(N, Z, rmse, SHAPE[0], B, span)


def balanced_weight(convention: Convention, rmse: float, span: float) -> float:
    """One at which both terms have a say in the gradient, so that a wrong factor shows."""
    if convention.only is not None:
        return convention.only
    balances = {"squared error": 0.05, "absolute error": 0.3, "cross-entropy": 2.0}
    return convention.translate(balances[convention.family], scene(rmse, span))


def test_every_convention_has_its_published_loss():
    assert sorted(PUBLISHED) == sorted(NAMES)
    every = [name for convention in CONVENTIONS for name in convention.names]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("name", "span"),
    [
        (convention.name, span)
        for convention in CONVENTIONS
        for span in (None, 1.0, 2.0)
        if convention.family != "cross-entropy" or span != 2  # which has no pixels beyond 0…1
    ],
)
def test_the_gradient_of_the_published_loss_is_ours(name, span):
    convention = find(name)
    their_span = convention.pixel_span if span is None else span
    rmse = theirs(convention, 1.0, their_span)[1]
    weight = balanced_weight(convention, rmse, their_span)
    published, _ = theirs(convention, weight, their_span)
    here = scene(rmse, span)
    assert cosine(published, ours(convention, weight, here)) == pytest.approx(1, abs=1e-5)
    if convention.only is None:  # and a weight 10% off shows
        assert cosine(published, ours(convention, 1.1 * weight, here)) < 1 - 1e-5


@pytest.mark.parametrize(
    ("name", "weight", "shape", "latents", "batch", "balance"),
    [
        ("pythae-mse", 4.0, None, None, None, 4.0),
        ("multivae-normal", 2.5, None, None, None, 2.5),
        ("1konny-gaussian", 4.0, None, None, None, 2.0),
        ("disentanglement-lib-l2", 16.0, None, None, None, 8.0),
        ("disentangling-vae-gaussian", 510.0, None, None, None, 1.0),
        ("bolts", 0.1, (3, 32, 32), 256, None, 0.6),
        ("antixk", 0.00025, (3, 64, 64), None, None, 1.536),
        ("antixk-validation", 1.0, (3, 64, 64), None, None, 6144.0),
        ("mse-mean-kl-sum", 1.0, (3, 256, 256), None, 4, 393_216.0),
        ("alpha-sse", 50.0, None, None, None, 0.01),
        ("alpha-mse", 392.0, (1, 28, 28), None, None, 1.0),
        ("sigma", 0.1, None, None, None, 0.01),
        ("torch-example", 1.0, None, None, None, 1.0),
        ("keras-example", 1.0, (1, 28, 28), None, None, 1.0),
        ("bce-mean", 1.0, (1, 28, 28), None, None, 784.0),
        ("beta-norm", 0.001, (1, 64, 64), 10, None, 0.4096),
    ],
)
def test_well_known_settings(name, weight, shape, latents, batch, balance):
    """σ², which is β in ½·SSE + β·KL, or β/α of a cross-entropy."""
    here = Scene(
        dimensions=math.prod(shape) if shape else None,
        channels=shape[0] if shape else None,
        latent_size=latents,
        batch_size=batch,
    )
    assert port(find(name), weight, here).balance == pytest.approx(balance)


def test_diffusers_kl_scale_in_its_pixels_and_in_ours():
    """Its loader makes pixels of −1…1, in which an SSE is four times ours."""
    convention = find("diffusers-l2")
    assert port(convention, 1e-6, Scene(pixel_span=1)).balance == pytest.approx(5e-7)
    assert port(convention, 1e-6, Scene()).balance == pytest.approx(1.25e-7)


def test_the_calibrated_alpha_of_an_rmse_is_n_over_rmse():
    here = Scene(dimensions=784, rmse=0.1)
    ported = port(find("alpha-rmse-batch"), 784 / 0.1, here)
    assert isinstance(ported.likelihood, Gaussian)
    assert ported.likelihood.sigma == pytest.approx(0.1)


def test_what_it_becomes():
    assert port(find("pythae-bce"), 4.0, Scene()).likelihood == Bernoulli()
    assert port(find("pythae-bce"), 4.0, Scene()).beta == 4.0
    assert port(find("disentangling-vae-laplace"), 0.2, Scene()).likelihood == Laplace(scale=0.2)
    rmse = port(find("alpha-rmse"), 100.0, Scene())
    assert (rmse.likelihood, rmse.alpha, rmse.beta, rmse.balance) == (Rmse(), 100.0, 1.0, None)
    assert port(find("alpha-rmse"), 100.0, Scene(pixel_span=2)).alpha == 200.0


weights = st.floats(1e-9, 1e9)
scenes = st.builds(
    Scene,
    dimensions=st.integers(1, 200_000),
    latent_size=st.integers(1, 1000),
    rmse=st.floats(1e-3, 1.0),
    channels=st.sampled_from([1, 3]),
    batch_size=st.integers(1, 512),
    pixel_span=st.one_of(st.none(), st.floats(0.5, 255.0)),
)


@pytest.mark.parametrize("name", NAMES)
@given(weight=weights, here=scenes)
def test_there_and_back(name, weight, here):
    convention = find(name)
    if convention.only is not None:
        weight = convention.only
    ported = port(convention, weight, here)
    found = translate(ported.likelihood, ported.alpha, ported.beta, here)
    rows = {known: row.value for row in found.rows for known in row.names}
    if convention.only is not None:
        assert name not in rows
        assert convention.translate(ported.balance, here) == pytest.approx(1.0)
    else:
        assert rows[name] == pytest.approx(weight)
    assert found.unknown == ()


@given(here=scenes, scale=st.floats(0.01, 100.0))
def test_only_the_ratio_of_the_weights_counts(here, scale):
    for likelihood in (Gaussian(sigma=0.3), Laplace(scale=0.3), Bernoulli(), Rmse()):
        once = translate(likelihood, 2.0, 3.0, here).rows
        again = translate(likelihood, 2.0 * scale, 3.0 * scale, here).rows
        assert [r.value for r in once] == pytest.approx([r.value for r in again])


def test_what_is_not_known_is_named_and_the_rest_translated():
    found = translate(Gaussian(sigma=0.1), 1.0, 1.0, Scene(latent_size=8))
    names = {name for row in found.rows for name in row.names}
    assert {"sigma", "alpha-sse", "pythae-mse"} <= names
    lacks = {gap.names[0]: gap.lacks for gap in found.unknown}
    assert lacks["antixk"] == ("dimensions",)
    assert lacks["mse-mean-kl-sum"] == ("dimensions", "batch_size")
    rmse = translate(Rmse(), 100.0, 1.0, Scene(dimensions=784))
    assert [(row.names[0], row.value) for row in rmse.rows] == [("alpha-rmse", 100.0)]
    assert "depends on the RMSE" in rmse.summary
    assert {gap.names[0]: gap.lacks for gap in rmse.unknown}["sigma"] == ("rmse",)


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 0.0)])
def test_no_balance_without_both_terms(weights):
    found = translate(Gaussian(), *weights, Scene(dimensions=10))
    assert found.rows == ()
    assert "no balance to convert" in found.summary


def test_the_derivation_says_which_reductions_they_use():
    here = Scene(dimensions=3072, latent_size=256)
    assert find("bolts").derivation(0.1, here) == (
        "squared error averaged over pixels and images; KL averaged over latents and images; so "
        "σ² = w·n / (2·Z) = 0.1·3072 / (2·256) = 0.6."
    )
    assert (
        find("diffusers-l2")
        .derivation(1e-6, Scene())
        .endswith(
            "with pixels that span 2 where ours span 1 (without its perceptual and adversarial "
            "terms); so σ² = kl_scale / (2·span²) = 1e-06 / (2·2²) = 1.25e-07."
        )
    )
    assert (
        find("disentangling-vae-gaussian")
        .derivation(51, Scene())
        .startswith(
            "255 × squared error summed over pixels, averaged over images; KL summed over latents, "
            "averaged over images; so σ² = β / 510 = 51 / 510 = 0.1."
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_derivation_ends_with_its_balance(name):
    convention = find(name)
    here = Scene(3072, 16, 0.1, 3, 32)
    weight = convention.only or 0.7
    assert convention.derivation(weight, here).endswith(
        f"= {convention.balance(weight, here):.6g}."
    )


@pytest.mark.parametrize("spelling", ["BOLTS", "mse_mean_kl_mean", "MSE mean KL mean"])
def test_spelling_is_not_held_against_anyone(spelling):
    assert find(spelling) is find("bolts")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pythae", "did you mean 'pythae-mse' or 'pythae-bce'"),
        ("antikx", "did you mean 'antixk'"),
        ("zzz", "'zzz' is not a known convention; Allowed: 1konny-bernoulli, "),
        ("", "'' is not a known convention; Allowed"),
    ],
)
def test_an_unknown_convention_is_refused_with_the_nearest_and_the_list(name, hint):
    with pytest.raises(UserError) as caught:
        find(name)
    assert hint in str(caught.value)
    assert "torch-example" in str(caught.value)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(UserError, match=r"pythae-mse: weight β = .*must be a number above 0"):
        port(find("pythae-mse"), weight, Scene())


def test_a_weight_that_the_code_does_not_have_is_refused():
    with pytest.raises(UserError, match=r"M_N = 0\.1: its code always uses 1; give 1"):
        port(find("antixk-validation"), 0.1, scene())


def test_a_balance_beyond_numbers_is_refused():
    with pytest.raises(UserError, match="out of the range of floats"):
        port(find("sigma"), 1e-200, Scene())


def test_what_it_needs_is_asked_for():
    with pytest.raises(UserError, match=r"shape \(--shape 3x64x64\) and its batch size \(--batch"):
        port(find("mse-mean-kl-sum"), 1.0, Scene())
    with pytest.raises(UserError, match=r"latents \(--latents 128\); give it"):
        port(find("bolts"), 1.0, Scene(dimensions=10))
    with pytest.raises(UserError, match=r"RMSE of the run's reconstructions"):
        port(find("alpha-rmse-batch"), 1.0, Scene(dimensions=10))
