"""Architectures: shapes for every size, and the tutorials' network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.helpers.members import examples
from vaebalance.base.errors import UserError
from vaebalance.testing import check_network
from vaebalance.vae.networks import ACTIVATIONS, Architecture, Conv, Mlp


@pytest.mark.parametrize("architecture", examples(Architecture), ids=repr)
def test_every_member_meets_the_requirements(architecture):
    shape, raw_shape, latents = (1, 9, 9), (2, 9, 9), 4
    encoder = architecture.encoder(shape, 2 * latents)
    check_network(encoder, architecture.decoder(latents, raw_shape), shape, latents, raw_shape)


@given(
    channels=st.sampled_from([1, 3]),
    side=st.integers(8, 40),
    depth=st.integers(1, 3),
    latents=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_conv_restores_every_side(channels, side, depth, latents):
    architecture = Conv(channels=(4,) * depth, hidden=(6, 5))
    shape = (channels, side, side)
    features = architecture.encoder(shape, 7)(torch.zeros(2, *shape))
    raw = architecture.decoder(latents, shape)(torch.zeros(2, latents))
    assert features.shape == (2, 7)
    assert raw.shape == (2, *shape)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
@settings(max_examples=30, deadline=None)
def test_mlp_takes_any_shape(shape, hidden):
    architecture = Mlp(hidden=tuple(hidden))
    assert architecture.encoder(shape, 4)(torch.zeros(3, *shape)).shape == (3, 4)
    assert architecture.decoder(2, shape)(torch.zeros(3, 2)).shape == (3, *shape)


def test_the_tutorials_network_is_one_setting():
    """Check 784-256-128-2 and back."""
    architecture = Mlp(hidden=(256, 128))
    encoder = architecture.encoder((1, 28, 28), 2)
    decoder = architecture.decoder(2, (1, 28, 28))
    widths = [(m.in_features, m.out_features) for m in encoder if isinstance(m, nn.Linear)]
    mirror = [(m.in_features, m.out_features) for m in decoder if isinstance(m, nn.Linear)]
    assert widths == [(784, 256), (256, 128), (128, 2)]
    assert mirror == [(2, 128), (128, 256), (256, 784)]


def test_no_activation_follows_the_last_layer():
    """Check that raw output can be negative."""
    for architecture in (Mlp(), Conv()):
        assert isinstance(architecture.encoder((1, 8, 8), 4)[-1], nn.Linear)
        last = list(architecture.decoder(2, (1, 8, 8)).modules())[-1]
        assert not isinstance(last, tuple(ACTIVATIONS.values()))


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 16, 8)])
def test_conv_refuses_images_that_it_cannot_halve(shape):
    with pytest.raises(UserError, match=r"model\.architecture: conv needs square images from 8×8"):
        Conv().encoder(shape, 4)


def test_conv_refuses_too_many_halvings():
    with pytest.raises(UserError, match=r"give at most 3 entries"):
        Conv(channels=(4,) * 4).decoder(2, (1, 8, 8))
