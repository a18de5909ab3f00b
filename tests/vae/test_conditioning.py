"""A conditioned VAE: folded at one β, it is an ordinary VAE with the same outputs."""

from typing import get_args

import pytest
import torch
from torch import nn

from vaebalance.base.errors import UserError
from vaebalance.vae.conditioning import (
    Concatenation,
    ConditionedVAE,
    Conditioning,
    FilmMlp,
    FilmSpline,
    MultiRate,
)
from vaebalance.vae.elbo import Weights, elbo_terms, weighted_loss
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, GaussianLearned, GaussianOptimal
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import ACTIVATIONS, Conv, Mlp
from vaebalance.vae.saved_model import load_model, save_model

SHAPE = (1, 9, 9)  # odd: the decoder's output padding counts
LOW, HIGH = 0.01, 10.0
BETAS = (LOW, 0.3, 1.0, HIGH)
KINDS = [member() for member in get_args(get_args(Conditioning)[0])]
ARCHITECTURES = [Mlp(hidden=(16, 8)), Conv(channels=(4, 8), hidden=(16,))]


def make(conditioning=None, architecture=None, likelihood=None, posterior="gaussian"):
    """Conditioned, with modulators that are past their beginning."""
    torch.manual_seed(0)
    spec = ModelSpec(
        architecture=architecture or Mlp(hidden=(16,)), latent_size=3, posterior=posterior
    )
    vae = VAE(spec, likelihood or Bernoulli(), SHAPE)
    model = ConditionedVAE(vae, conditioning or FilmMlp(), LOW, HIGH)
    with torch.no_grad():
        for modulator in (model.encoder_modulator, model.decoder_modulator):
            for parameter in modulator.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def outputs(model, x, z):
    """What encoder and decoder say, as numbers."""
    posterior = model.encode(x)
    return posterior.mean, posterior.variance.log(), model.decode(z).base_dist.logits


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.kind)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_ordinary_vae_does_the_same_at_one_beta(kind, architecture, activation):
    model = make(kind, architecture.replace(activation=activation))
    x, z = torch.rand(5, *SHAPE), torch.randn(2, 5, 3)
    found = {}
    with torch.no_grad():
        for beta in BETAS:
            plain = model.at(beta)
            given = outputs(model.given(torch.full((5,), beta)), x, z)
            found[beta] = outputs(plain, x, z)
            for a, b in zip(found[beta], given, strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    for low, high in zip(found[LOW], found[HIGH], strict=True):
        assert (low - high).abs().max() > 1e-3  # β matters


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.kind)
def test_the_ordinary_vae_has_no_trace_of_the_conditioning(tmp_path, architecture):
    model = make(architecture=architecture)
    plain = model.at(1.0)
    assert type(plain) is VAE
    assert not plain.training
    assert plain.spec == model.vae.spec
    fresh = VAE(plain.spec, plain.likelihood, SHAPE)
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    assert shapes == {name: value.shape for name, value in fresh.state_dict().items()}
    save_model(tmp_path, plain, plain.state_dict())
    x = torch.rand(2, *SHAPE)
    assert torch.equal(load_model(tmp_path).encode(x).mean, plain.encode(x).mean)


def test_folding_leaves_the_conditioned_model_as_it_was():
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.at(0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.kind)
def test_each_image_has_its_own_beta(kind, architecture):
    model = make(kind, architecture)
    x, z = torch.rand(4, *SHAPE), torch.randn(4, 3)
    together = outputs(model.given(torch.tensor(BETAS)), x, z)
    for i, beta in enumerate(BETAS):
        alone = outputs(model.given(torch.tensor([beta])), x[i : i + 1], z[i : i + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.kind)
def test_neighbours_may_share_a_beta(kind, architecture):
    model = make(kind, architecture)
    x, z = torch.rand(8, *SHAPE), torch.randn(3, 8, 3)
    few = torch.tensor(BETAS)
    each = few.repeat_interleave(2)
    for a, b in zip(outputs(model.given(few), x, z), outputs(model.given(each), x, z), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("film", [FilmSpline(), FilmMlp()], ids=lambda film: film.kind)
def test_film_begins_as_the_plain_vae(film):
    torch.manual_seed(0)
    vae = VAE(
        ModelSpec(architecture=Mlp(), latent_size=3, posterior="gaussian"), Bernoulli(), SHAPE
    )
    model = ConditionedVAE(vae, film, LOW, HIGH)
    x, z = torch.rand(2, *SHAPE), torch.randn(2, 3)
    for a, b in zip(outputs(model.at(0.2), x, z), outputs(vae, x, z), strict=True):
        assert torch.equal(a, b)


def test_a_spline_is_piecewise_linear_in_log_beta():
    model = make(FilmSpline(knots=4))  # at β = 0.01, 0.1, 1 and 10
    values = model.decoder_modulator.values

    def modulation(beta):
        (found,) = model.decoder_modulator(model.standardised(torch.tensor([beta])))
        return torch.cat([found.scale[0, 0] - 1, found.shift[0, 0]])

    one, two = modulation(0.1), modulation(1.0)
    torch.testing.assert_close(one, 5 * values[1])
    torch.testing.assert_close(two, 5 * values[2])
    torch.testing.assert_close(modulation(0.1 * 10**0.25), 0.75 * one + 0.25 * two)
    modulation(0.2).sum().backward()
    assert values.grad.abs().sum(1).bool().tolist() == [False, True, True, False]


def test_a_spline_tells_the_encoders_last_layer_too():
    model = make(FilmSpline(), Conv(channels=(4, 8), hidden=(16,)))
    widths = [m.shift.shape[-1] for m in model.encoder_modulator(torch.zeros(1))]
    assert widths == [4, 8, 16, 2 * 3]
    widths = [m.shift.shape[-1] for m in model.decoder_modulator(torch.zeros(1))]
    assert len(widths) == 3
    assert 81 not in widths


def test_the_gates_are_those_of_the_paper():
    model = make(MultiRate())
    encoder, decoder = model.encoder_modulator, model.decoder_modulator
    b = model.standardised(torch.tensor([0.1]))
    w, c = encoder.linear.weight[:, 0], encoder.linear.bias
    torch.testing.assert_close(encoder(b)[0].scale[0, 0], 1 / (1 + torch.exp(-(w * b + c))))
    w, c = decoder.linear.weight[:, 0], decoder.linear.bias
    expected = torch.clamp(1 - torch.exp(w * b + c), min=0).sqrt()
    torch.testing.assert_close(decoder(b)[0].scale[0, 0], expected)
    assert (expected == 0).any()  # closed gates …
    terms = elbo_terms(model.given(torch.tensor([0.1, 1.0])), torch.rand(2, *SHAPE))
    terms.negative_elbo.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())  # … harm no gradient


def test_concatenation_is_an_input_more():
    """Of a linear layer; of a convolution a channel that is constant beyond the borders as well."""
    for architecture in ARCHITECTURES:
        model = make(Concatenation(), architecture)
        layer = next(m for m in model.vae.encoder if isinstance(m, nn.Linear | nn.Conv2d))
        extra = model.encoder_modulator.linear.weight
        b = model.standardised(torch.tensor([0.1]))
        x = torch.rand(1, *SHAPE)
        if isinstance(layer, nn.Linear):
            weight = torch.cat([layer.weight, extra], 1)
            told = torch.cat([x.flatten(1), b[:, None]], 1)
            expected = nn.functional.linear(told, weight, layer.bias)
            folded = model.at(0.1).encoder[:2](x)
        else:
            kernel = torch.zeros(len(extra), 1, 4, 4)
            kernel[:, :, 1, 2] = extra  # the sum over a kernel is what acts on a constant
            told = torch.cat([nn.functional.pad(x, (1, 1, 1, 1)), b.expand(1, 1, 11, 11)], 1)
            weight = torch.cat([layer.weight, kernel], 1)
            expected = nn.functional.conv2d(told, weight, layer.bias, stride=2)
            folded = model.at(0.1).encoder[:1](x)
        torch.testing.assert_close(folded, expected, atol=1e-5, rtol=1e-5)


def test_log_beta_is_standardised_over_the_range():
    model = make()
    betas = torch.logspace(-2, 1, 100_001, dtype=torch.float64)
    b = model.standardised(betas)
    assert b.mean().abs() < 1e-9
    assert b.var(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_the_loss_weighs_each_images_rate_by_its_own_beta():
    model, x, betas = make(), torch.rand(4, *SHAPE), torch.tensor(BETAS)
    terms = elbo_terms(model.given(betas), x)
    expected = sum(terms.distortion[i] + betas[i] * terms.rate[i] for i in range(4)) / 4
    torch.testing.assert_close(weighted_loss(terms, Weights(1.0, betas[:, None])), expected)


@pytest.mark.parametrize("beta", [0.0099, 10.1, float("nan")])
def test_a_beta_outside_of_the_range_is_refused(beta):
    with pytest.raises(UserError, match=r"from 0\.01 to 10; stay within"):
        make().at(beta)


@pytest.mark.parametrize("likelihood", [GaussianLearned(), GaussianOptimal()])
def test_a_scale_for_all_betas_is_refused(likelihood):
    with pytest.raises(UserError, match=r"likelihood\.kind = .* learns one scale"):
        make(likelihood=likelihood)
    make(likelihood=Gaussian(sigma=0.1))


def test_what_cannot_be_conditioned_is_refused():
    with pytest.raises(UserError, match=r"model\.posterior = 'deterministic'"):
        make(posterior="deterministic")
    with pytest.raises(UserError, match=r"no hidden layer .* \{kind: concatenation\}"):
        make(architecture=Mlp(hidden=()))
    make(Concatenation(), Mlp(hidden=()))


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(81), nn.Linear(81, 6)), "BatchNorm1d"),
        (nn.Linear(81, 6), "has a Linear, and only"),
        (nn.Sequential(nn.Flatten(), nn.Linear(81, 6, bias=False)), "no bias, or groups"),
    ],
)
def test_layers_that_do_not_fold_are_refused(encoder, words):
    spec = ModelSpec(architecture=Mlp(), latent_size=3, posterior="gaussian")
    vae = VAE(spec, Bernoulli(), SHAPE)
    vae.encoder = encoder
    with pytest.raises(UserError, match=words):
        ConditionedVAE(vae, FilmMlp(), LOW, HIGH)
