"""A network that violates one requirement gets a report of this requirement."""

import pytest
import torch
from torch import nn

from vaebalance.testing import check_network

SHAPE, LATENTS = (1, 4, 4), 3


def encoder(*layers: nn.Module, outputs: int = 2 * LATENTS) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), *layers, nn.Linear(8, outputs))


def decoder(*last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(LATENTS, 16), nn.Unflatten(1, SHAPE), *last)


class Spare(nn.Module):
    """A layer is not used."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = encoder(), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


class Noisy(nn.Module):
    """Random numbers are drawn in evaluation mode."""

    def forward(self, x):
        return x + torch.randn_like(x)


class AcrossTheBatch(nn.Module):
    """An example's output depends on the whole batch."""

    def forward(self, x):
        return x - x.mean(0)


class Exploding(nn.Module):
    """The gradient is infinite."""

    def forward(self, x):
        return x * (0 * x).sqrt() + x


@pytest.mark.parametrize("layers", [(nn.ReLU(),), (nn.BatchNorm1d(8), nn.Dropout(0.5), nn.GELU())])
def test_a_sound_pair_passes_and_is_left_as_it_was(layers):
    pair = encoder(*layers), decoder()
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in pair]
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    check_network(*pair, SHAPE, LATENTS)
    assert torch.equal(torch.rand(3), expected)
    for network, state in zip(pair, before, strict=True):
        assert network.training
        assert all(torch.equal(value, state[k]) for k, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        (lambda: (encoder(outputs=LATENTS), decoder()), r"the encoder takes .* to \(3, 6\), not"),
        (lambda: (encoder(), decoder(nn.Flatten())), r"the decoder .* not to \(3, 16\)"),
        (lambda: (Spare(), decoder()), r"\['spare.weight', 'spare.bias'\] are not: leave them"),
        (lambda: (encoder(), decoder(nn.Sigmoid())), r"decoder's output may have either sign"),
        (lambda: (encoder(Noisy()), decoder()), r"the encoder repeats itself in evaluation mode"),
        (lambda: (encoder(), decoder(AcrossTheBatch())), r"depends on it alone, but a batch gives"),
        (lambda: (encoder(Exploding()), decoder()), r"gradients of the encoder are finite"),
    ],
)
def test_a_violation_is_named_with_its_remedy(networks, words):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=words):
        check_network(*networks(), SHAPE, LATENTS)


def test_a_likelihood_may_read_more_channels_than_an_image_has():
    wide = nn.Sequential(nn.Linear(LATENTS, 32), nn.Unflatten(1, (2, 4, 4)))
    check_network(encoder(), wide, SHAPE, LATENTS, raw_shape=(2, 4, 4))
