"""A network is stacked if it computes the same as alone; otherwise the reason is given."""

import copy
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from vaebalance.balancing import Fixed, RunFacts
from vaebalance.base.reports import EpochReport
from vaebalance.stacking.stack import Stack, incompatibility
from vaebalance.stacking.together import Member, Together
from vaebalance.training.loader import Images
from vaebalance.training.loop import TrainSpec, train
from vaebalance.training.precision import bf16_terms
from vaebalance.training.step import Learner
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

SHAPE, LATENTS, WIDTH = (1, 8, 8), 3, 12
SPEC = TrainSpec(
    epochs=2,
    batch_size=16,
    learning_rate=1e-3,
    gradient_clip=None,
    patience=None,
    checkpoint_every=1,
    device="cpu",
    precision="fp32",
    compile="off",
)


class Residual(nn.Module):
    """h + a small network of h, normalised."""

    def __init__(self, norm, *layers):
        super().__init__()
        self.norm, self.layers = norm, nn.Sequential(*layers)

    def forward(self, h):
        return h + self.layers(self.norm(h))


class Attention(nn.Module):
    """An image's rows attend to each other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.out = nn.Linear(64, 2 * LATENTS)

    def forward(self, x):
        return self.out(self.layer(x[:, 0]).flatten(1))


class TiedDecoder(nn.Module):
    """A decoder that uses the encoder's last layer, transposed, within a functional call."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.out = nn.Linear(WIDTH, 64)

    def forward(self, z):
        weight = self.layer.weight[:LATENTS]
        return self.out(functional.linear(z, weight.T).relu()).view(-1, *SHAPE)


class HiddenTie(TiedDecoder):
    """A tied decoder whose tie torch cannot see."""

    def __init__(self, layer):
        nn.Module.__init__(self)
        self.__dict__["layer"] = layer
        self.out = nn.Linear(WIDTH, 64)


class Counting(nn.Module):
    """An encoder whose calls change what it computes."""

    calls = 0

    def forward(self, h):
        self.calls = self.calls + 1
        return h * self.calls


class Waiting(nn.Module):
    """An encoder that reads a tensor's value."""

    def forward(self, h):
        return h if h.sum() > 0 else 2 * h


class Locked(nn.Module):
    """An encoder that cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, h):
        return h


class Scaled(nn.Module):
    """A layer whose constant is no attribute of the module."""

    def __init__(self, scale):
        super().__init__()
        self.scale = lambda h: scale * h

    def forward(self, h):
        return self.scale(h)


class Shifted(nn.Module):
    """An encoder with a buffer."""

    def __init__(self, shift):
        super().__init__()
        self.register_buffer("shift", torch.full((WIDTH,), shift))

    def forward(self, h):
        return h + self.shift


def dense(*hidden):
    """Build a fully connected encoder."""
    last = nn.Linear(WIDTH, 2 * LATENTS)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), *hidden, last)


def residual():
    body = [nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH, bias=False)]
    return dense(Residual(nn.LayerNorm(WIDTH), *body), nn.RMSNorm(WIDTH))


def convolutional(norm):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, groups=1),
        Residual(norm, nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.GELU()),
        *(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 2 * LATENTS)),
    )


def learner_of(encoder, decoder=None, beta=1.0, terms=None):
    """Build a learner of `encoder` and of `decoder`, or the usual decoder."""
    spec = ModelSpec(architecture=Mlp(hidden=(16,)), latent_size=LATENTS, posterior="gaussian")
    model = VAE(spec, Bernoulli(), SHAPE)
    model.encoder = encoder
    if decoder is not None:
        model.decoder = decoder
    optimizer = torch.optim.Adam(model.parameters(), lr=SPEC.learning_rate, fused=True)
    run = RunFacts(dimensions=64, latent_size=LATENTS, steps=12, steps_per_epoch=4, sigma=0.1)
    balance = Fixed(beta=beta)
    learner = Learner(model, optimizer, balance, balance.initial_state(run))
    return learner if terms is None else replace(learner, terms=terms)


def tied(decoder=TiedDecoder):
    encoder = dense()
    return encoder, decoder(encoder[-1])


def make_images(count=50):
    generator = torch.Generator().manual_seed(0)
    return Images(torch.randint(0, 256, (count, *SHAPE), generator=generator).byte(), "none")


NETWORKS = {
    "residual, layer norm": lambda: (residual(),),
    "residual, group norm": lambda: (convolutional(nn.GroupNorm(2, 4)),),
    "instance norm": lambda: (convolutional(nn.InstanceNorm2d(4, affine=True)),),
    "attention": lambda: (Attention(),),
    "tied": tied,
    "one buffer": lambda: (dense(Shifted(0.5)),),
    "frozen": lambda: (frozen(),),
    "unused": lambda: (unused(),),
}


def frozen():
    encoder = dense()
    encoder[1].weight.requires_grad_(False)
    return encoder


def unused():
    encoder = dense()
    encoder[1].register_parameter("spare", nn.Parameter(torch.ones(3)))
    return encoder


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "frozen"])
def test_other_networks_are_trained_as_alone(name):
    torch.manual_seed(0)
    alone = [learner_of(*NETWORKS[name](), beta=beta) for beta in (0.5, 1.0, 4.0)]
    members = [Member(copy.deepcopy(learner), SPEC, 7) for learner in alone]
    assert incompatibility([member.learner for member in members]) is None
    together = Together(members, make_images(), make_images(20))
    streams = [together.reports(index) for index in range(len(members))]
    reports = list(zip(*streams, strict=True))
    for index, lone in enumerate(alone):
        stream = train(lone, make_images(), make_images(20), SPEC, 7)
        expected = [report for report in stream if isinstance(report, EpochReport)]
        for row, report in zip(reports, expected, strict=True):
            assert row[index].metrics() == pytest.approx(report.metrics(), rel=1e-4, abs=1e-4)
        check_weights(members[index].learner.model, lone.model)


def check_weights(model, expected):
    weights, others = model.state_dict(), expected.state_dict()
    for key, value in others.items():
        # (An attention's key bias has gradient 0 up to rounding, which Adam turns into a step.)
        if "in_proj_bias" not in key:
            torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-4)


def test_a_tied_weight_stays_one():
    torch.manual_seed(0)
    learners = [learner_of(*tied()) for _ in range(2)]
    stack = Stack(learners)
    assert len(stack.weights) == len(list(learners[0].model.parameters()))
    for learner in learners:
        assert learner.model.decoder.layer.weight is learner.model.encoder[-1].weight


def test_frozen_weights_stay():
    torch.manual_seed(0)
    learners = [learner_of(frozen(), beta=beta) for beta in (1.0, 2.0)]
    assert incompatibility(learners) is None
    before = copy.deepcopy([learner.model.state_dict() for learner in learners])
    stack = Stack(learners)
    terms = stack.terms(torch.rand(1, 5, *SHAPE), torch.randn(1, 5, LATENTS)).terms
    stack.step(terms.negative_elbo.mean(1).sum(), None)
    for learner, old in zip(learners, before, strict=True):
        new = learner.model.state_dict()
        still = {name for name, value in old.items() if torch.equal(new[name], value)}
        assert still == {"encoder.1.weight"}
        assert learner.model.encoder[1].weight not in learner.optimizer.state


def test_buffers_that_differ_are_each_its_own():
    torch.manual_seed(0)
    learners = [learner_of(dense(Shifted(shift))) for shift in (0.0, 2.0, 5.0)]
    assert incompatibility(learners) is None
    x, noise = torch.rand(1, 5, *SHAPE), torch.randn(1, 5, LATENTS)
    stack = Stack(learners)
    features = stack.terms(x, noise, stack.part(slice(1, 3)), slice(1, 3)).features
    for learner, found in zip(learners[1:], features, strict=True):
        torch.testing.assert_close(found, learner.model.features(x[0]))
    stack.keep([0, 2])
    for slot, learner in enumerate(stack.learners):
        lone = learner.model.features(x[0])
        torch.testing.assert_close(stack.terms(x, noise).features[slot], lone)


@pytest.mark.parametrize("encoder", [residual, Attention, lambda: convolutional(nn.Identity())])
def test_in_bf16_they_multiply_as_autocast_does(encoder):
    torch.manual_seed(0)
    learners = [learner_of(encoder(), terms=bf16_terms) for _ in range(2)]
    assert incompatibility(learners) is None
    x, noise = torch.rand(1, 40, *SHAPE), torch.randn(1, 40, LATENTS)
    stack = Stack(learners)
    exact, rounded = (stack.terms(x, noise, in_bf16=flag).features for flag in (False, True))
    for slot, learner in enumerate(learners):
        with torch.autocast("cpu", torch.bfloat16):
            lone = learner.model.features(x[0])
        error = (lone - exact[slot]).norm()
        assert 0 < (rounded[slot] - exact[slot]).norm() < 2 * error


@pytest.mark.parametrize("architecture", [Mlp(hidden=(16, 8)), Conv(channels=(4, 6), hidden=(12,))])
def test_our_own_networks_are_to_the_last_bits_what_autocast_computes(architecture):
    torch.manual_seed(0)
    spec = ModelSpec(architecture=architecture, latent_size=LATENTS, posterior="gaussian")
    models = [VAE(spec, Bernoulli(), SHAPE) for _ in range(2)]
    learners = [learner_of(m.encoder, m.decoder, terms=bf16_terms) for m in models]
    assert incompatibility(learners) is None
    x, noise = torch.rand(1, 40, *SHAPE), torch.randn(1, 40, LATENTS)
    features = Stack(learners).terms(x, noise, in_bf16=True).features
    for slot, model in enumerate(models):
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(features[slot], model.features(x[0]), rtol=0.02, atol=0.01)


REFUSED = {
    "dropout": (lambda: (dense(nn.Dropout(0.5)),), "random numbers"),
    "batch norm": (lambda: (dense(nn.BatchNorm1d(WIDTH)),), "running_mean .*batch norm"),
    "spectral norm": (
        lambda: (dense(nn.utils.parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH))),),
        r"encoder\.3\.parametrizations",
    ),
    "a counter": (lambda: (dense(Counting()),), "attributes"),
    "a condition": (lambda: (dense(Waiting()),), "cannot be run as one .*control flow"),
    "a lock": (lambda: (dense(Locked()),), "cannot be copied .*lock"),
    "a hidden tie": (lambda: tied(HiddenTie), "other outputs or gradients"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_stack_would_lose_is_named(name):
    make, why = REFUSED[name]
    torch.manual_seed(0)
    learners = [learner_of(*make(), beta=beta) for beta in (1.0, 2.0)]
    before = copy.deepcopy([learner.model.state_dict() for learner in learners])
    drawn = torch.get_rng_state()
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(incompatibility(learners))
    assert torch.equal(torch.get_rng_state(), drawn)  # the check draws nothing
    for learner, state in zip(learners, before, strict=True):
        for key, value in learner.model.state_dict().items():
            assert torch.equal(value, state[key])


def shared_memory():
    encoder = dense()
    twin = nn.Linear(2 * LATENTS, WIDTH)
    twin.weight = nn.Parameter(encoder[-1].weight.T)
    return encoder, nn.Sequential(nn.Linear(LATENTS, 2 * LATENTS), twin, *unflattened())


def unflattened():
    return nn.Linear(WIDTH, 64), nn.Unflatten(1, SHAPE)


def test_weights_that_share_memory_are_named():
    learners = [learner_of(*shared_memory()) for _ in range(2)]
    assert "share memory" in incompatibility(learners)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ((nn.LeakyReLU(0.01), nn.LeakyReLU(0.2)), "encoder.3.negative_slope: 0.01 and 0.2"),
        ((nn.Dropout(0.0), nn.Dropout(0.1)), "encoder.3.p: 0.0 and 0.1"),
        ((nn.ReLU(), nn.Tanh()), "differ in shape"),
        ((Scaled(1.0), Scaled(1.5)), "other outputs or gradients"),
    ],
)
def test_constants_that_differ_are_named(layers, why):
    torch.manual_seed(0)
    encoder = dense(layers[0])
    other = copy.deepcopy(encoder)
    other[3] = layers[1]
    learners = [learner_of(network) for network in (encoder, other)]
    assert why in incompatibility(learners)
    assert all(incompatibility([one, one]) is None for one in learners[:1])


def test_other_optimizers_are_named():
    odd = learner_of(dense())
    odd.optimizer = torch.optim.SGD(odd.model.parameters(), lr=0.1)
    assert "not Adam" in incompatibility([learner_of(dense()), odd])
