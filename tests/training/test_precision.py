"""Only the networks' products use bf16, and only if it is faster."""

import math

import pytest
import torch
from torch import nn

from vaebalance.balancing import Fixed
from vaebalance.training.loader import Images
from vaebalance.training.precision import (
    BF16_WORK,
    COMPILED_STEPS,
    THREADS_WORK,
    bf16_terms,
    choose_threads,
    has_bf16,
    is_compiled,
    make_terms,
    multiplications,
)
from vaebalance.training.step import Learner, Step
from vaebalance.vae.conditioning import ConditionedVAE, FilmMlp
from vaebalance.vae.elbo import elbo_terms
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, GaussianLearned
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

CPU = torch.device("cpu")
ARCHITECTURES = [Mlp(hidden=(16, 8)), Conv(channels=(4, 8), hidden=(16,))]


def make_model(architecture=ARCHITECTURES[0], likelihood=None, latent_size=3):
    torch.manual_seed(0)
    spec = ModelSpec(architecture=architecture, latent_size=latent_size, posterior="gaussian")
    return VAE(spec, likelihood or Bernoulli(), (1, 9, 9))


def terms_of(how, model, x):
    torch.manual_seed(1)
    return how(model, x)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(sigma=0.3), GaussianLearned()])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.kind)
def test_terms_in_bf16_are_those_in_float32_but_for_the_rounding_of_products(
    architecture, likelihood
):
    model, x = make_model(architecture, likelihood), torch.rand(64, 1, 9, 9)
    exact, rounded = (terms_of(how, model, x) for how in (elbo_terms, bf16_terms))
    for name in ("distortion", "rate_by_latent", "z"):
        a, b = getattr(exact, name), getattr(rounded, name)
        assert b.dtype == torch.float32
        assert not torch.equal(a, b)  # the products are rounded …
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)  # … to 8 bits
    # All computations after the products have only float32's error.
    rate = -0.5 * (1 + rounded.posterior.variance.log() - rounded.posterior.mean**2)
    rate = rate + 0.5 * rounded.posterior.variance
    torch.testing.assert_close(rounded.rate_by_latent, rate, rtol=1e-5, atol=1e-6)
    again = -rounded.likelihood.log_prob(x)
    torch.testing.assert_close(rounded.distortion, again)


def test_weights_and_moments_stay_float32():
    model = make_model()
    learner = Learner(model, torch.optim.Adam(model.parameters()), Fixed(), {}, terms=bf16_terms)
    images = Images(torch.randint(0, 256, (8, 1, 9, 9)).byte(), "none")
    learner.step = Step(learner, images, None)
    learner.take_step(images.stored)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert all(
        value.dtype == torch.float32
        for state in learner.optimizer.state.values()
        for value in state.values()
    )


def test_a_conditioned_model_in_bf16_folds_into_an_ordinary_one():
    """The modulations use float32 weights, so a folded model has no bf16 values."""
    model = ConditionedVAE(make_model(), FilmMlp(), 0.01, 10.0)
    x, betas = torch.rand(6, 1, 9, 9), torch.tensor([0.1, 1.0, 10.0])
    with torch.no_grad():
        for parameter in model.decoder_modulator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    exact, rounded = (terms_of(how, model.given(betas), x) for how in (elbo_terms, bf16_terms))
    assert rounded.distortion.dtype == torch.float32
    torch.testing.assert_close(exact.distortion, rounded.distortion, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, Conv(channels=(4, 8, 16), hidden=())])
def test_multiplications_are_those_of_each_layer_done_by_hand(architecture):
    model, expected = make_model(architecture), 0

    def count(layer, inputs, output):
        nonlocal expected
        (x,) = inputs
        if isinstance(layer, nn.Linear):
            expected += layer.in_features * layer.out_features
        elif isinstance(layer, nn.ConvTranspose2d):  # a whole kernel for each input pixel
            expected += math.prod(x.shape[1:]) * layer.out_channels * math.prod(layer.kernel_size)
        else:  # a whole kernel for each output pixel
            expected += math.prod(output.shape[1:]) * layer.in_channels * 4 * 4

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    biases = multiplications(model) - expected
    assert 0 <= biases < 0.2 * expected  # biases are counted too
    assert not any(layer._forward_hooks for layer in make_model(architecture).modules())


@pytest.mark.parametrize(
    ("wanted", "in_hardware", "large", "chosen"),
    [
        ("auto", True, True, bf16_terms),
        ("auto", True, False, elbo_terms),
        ("auto", False, True, elbo_terms),
        ("bf16", False, False, bf16_terms),
        ("fp32", True, True, elbo_terms),
    ],
)
def test_auto_takes_bf16_where_hardware_has_it_and_the_step_is_large(
    wanted, in_hardware, large, chosen, monkeypatch
):
    monkeypatch.setattr("vaebalance.training.precision.has_bf16", lambda _: in_hardware)
    model = make_model()
    batch = -(-BF16_WORK // multiplications(model))
    assert make_terms(wanted, model, batch if large else batch - 1) is chosen


def test_what_the_processor_says_of_itself(monkeypatch):
    for flag in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flag=flag: {"avx512_bf16": flag})
        assert has_bf16(CPU) is flag
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # as on another architecture
    assert not has_bf16(CPU)
    assert not has_bf16(torch.device("mps"))


@pytest.mark.parametrize(
    ("wanted", "architecture", "steps", "expected"),
    [
        ("on", ARCHITECTURES[1], 1, True),
        ("off", ARCHITECTURES[0], 10**6, False),
        ("auto", ARCHITECTURES[0], COMPILED_STEPS, True),
        ("auto", ARCHITECTURES[0], COMPILED_STEPS - 1, False),
        ("auto", ARCHITECTURES[1], 10**6, False),  # compiling does not speed up convolutions
    ],
)
def test_a_step_is_compiled_where_it_pays(wanted, architecture, steps, expected):
    assert is_compiled(wanted, make_model(architecture), steps) == expected


@pytest.mark.parametrize(
    ("work", "device", "said", "expected"),
    [
        (THREADS_WORK - 1, "cpu", None, 1),
        (THREADS_WORK, "cpu", None, None),
        (1, "cpu", "2", None),  # the user's choice
        (1, "cuda", None, None),
    ],
)
def test_a_small_step_is_computed_on_one_thread(work, device, said, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert choose_threads(work, torch.device(device)) == expected
