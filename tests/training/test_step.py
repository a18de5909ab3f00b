"""The training step equals one written by hand, with any optimizer."""

from functools import partial

import pytest
import torch
from torch import nn

from vaebalance.balancing import Fixed
from vaebalance.base.adam import Adam
from vaebalance.training.loader import Images
from vaebalance.training.step import Learner, Step
from vaebalance.vae.elbo import elbo_terms
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

ALPHA, BETA = 2.0, 0.5
IMAGES = Images(
    torch.randint(0, 256, (40, 1, 3, 4), generator=torch.Generator().manual_seed(0)).byte(), "none"
)


class Odd(nn.Module):
    """An encoder with additive, transposed, frozen and unused weights."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.idle = (nn.Parameter(torch.rand(12, 4)) for _ in range(3))
        self.askew = nn.Parameter(torch.rand(4, 12).T)
        self.frozen = nn.Parameter(torch.rand(12, 4), requires_grad=False)

    def forward(self, x):
        x = x.flatten(1)
        return 0.1 * (x @ (self.one + self.other + self.frozen) + (x @ self.askew).exp())


def make_model():
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=(8,)), latent_size=2, posterior="gaussian")
    model = VAE(spec, Bernoulli(), (1, 3, 4))
    model.encoder = Odd()
    return model


def train_by_hand(model, optimizer, clip):
    for places in torch.arange(40).split(8):
        terms = elbo_terms(model, IMAGES.stored[places].float() / 255)
        optimizer.zero_grad()
        (ALPHA * terms.distortion.mean() + BETA * terms.rate.mean()).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


def train_by_steps(model, optimizer, clip):
    learner = Learner(model, optimizer, Fixed(alpha=ALPHA, beta=BETA), {})
    learner.step = Step(learner, IMAGES, clip)
    for places in torch.arange(40).split(8):
        learner.take_step(IMAGES.stored[places])


OPTIMIZERS = {
    "ours": partial(Adam, lr=0.01),
    "ours, fused": partial(Adam, lr=0.01, fused=True),
    "Adam": partial(torch.optim.Adam, lr=0.01),
    "AdamW": partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1, fused=True),
    "amsgrad": partial(torch.optim.Adam, lr=0.01, amsgrad=True),
    "SGD": partial(torch.optim.SGD, lr=0.001, momentum=0.9),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.001),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.5, 1e6])
def test_a_step_is_what_everybody_writes(name, clip):
    """Weights and optimizer state are the same; the optimizer is torch's Adam."""
    ours, theirs = make_model(), make_model()
    make = OPTIMIZERS[name]
    by_hand = {"ours": "Adam"}.get(name, name)
    other = torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    optimizers = [
        make(ours.parameters()),
        other if name == "ours, fused" else OPTIMIZERS[by_hand](theirs.parameters()),
    ]
    torch.manual_seed(1)
    train_by_steps(ours, optimizers[0], clip)
    torch.manual_seed(1)
    train_by_hand(theirs, optimizers[1], clip)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not torch.equal(ours.encoder.one, make_model().encoder.one)
    assert len(optimizers[0].state) == len(optimizers[1].state)


def test_a_step_leaves_no_gradients():
    """Gradients would take memory, and a compiled graph would have to return them."""
    model = make_model()
    train_by_steps(model, Adam(model.parameters(), lr=0.01), 1.0)
    assert all(weight.grad is None for weight in model.parameters())


def test_gradients_from_before_do_not_count():
    model, other = make_model(), make_model()
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 100.0)
    for each in (model, other):
        torch.manual_seed(1)
        train_by_steps(each, Adam(each.parameters(), lr=0.01), None)
    assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_what_needs_no_gradient_stays():
    model, before = make_model(), make_model()
    train_by_steps(model, Adam(model.parameters(), lr=0.01), None)
    assert torch.equal(model.encoder.frozen, before.encoder.frozen)
    assert torch.equal(model.encoder.idle, before.encoder.idle)
