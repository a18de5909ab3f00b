"""The training that everyone writes, and nothing of this project.

    python benchmarks/naive.py IMAGES.npy VALIDATION.npy [--beta 0.5] [--channels 32 64]

DataLoader over float tensors, Adam, sigmoid + BCE, three `.item()` a step, a pass over the
validation images after each epoch. Prints the last pass's [D, R], nats per image, as JSON. The nets
are those that `vaebalance.vae.networks` makes.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Epoch = Callable[[], None]


class NaiveVAE(nn.Module):
    """As in the tutorials: sigmoid in the decoder, (mu, logvar) out of the encoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, C, H, W] -> reconstruction, mu, logvar."""
        mu, logvar = self.encoder(x).chunk(2, -1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.decoder(z)), mu, logvar


def terms(vae: NaiveVAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """BCE and KLD of a batch, summed over it."""
    reconstruction, mu, logvar = vae(x)
    bce = nn.functional.binary_cross_entropy(reconstruction, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce, kld


def naive_epoch(
    vae: NaiveVAE, images: Tensor, batch_size: int, alpha: float = 1.0, beta: float = 1.0
) -> Epoch:
    """Build a function that trains for an epoch on images [N, C, H, W] uint8."""
    loader = DataLoader(TensorDataset(images.float() / 255), batch_size, shuffle=True)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    device = next(vae.parameters()).device

    def epoch() -> None:
        total, bces, klds = 0.0, 0.0, 0.0
        vae.train()
        for (x,) in loader:
            x = x.to(device)
            optimizer.zero_grad()
            bce, kld = terms(vae, x)
            loss = (alpha * bce + beta * kld) / len(x)
            loss.backward()
            optimizer.step()
            total, bces, klds = total + loss.item(), bces + bce.item(), klds + kld.item()

    return epoch


def naive_validation(
    vae: NaiveVAE, images: Tensor, batch_size: int
) -> Callable[[], tuple[float, float]]:
    """Build a function that measures D and R, nats per image."""
    loader = DataLoader(TensorDataset(images.float() / 255), batch_size)
    device = next(vae.parameters()).device

    @torch.no_grad()
    def validation() -> tuple[float, float]:
        vae.eval()
        bces, klds = 0.0, 0.0
        for (x,) in loader:
            bce, kld = terms(vae, x.to(device))
            bces, klds = bces + bce.item(), klds + kld.item()
        return bces / len(images), klds / len(images)

    return validation


def nets(
    shape: tuple[int, int, int], channels: list[int], hidden: list[int], latents: int
) -> NaiveVAE:
    """Of 4×4 convolutions that halve the side, if any, and fully connected layers."""
    sides = [shape[1] // 2**halvings for halvings in range(len(channels) + 1)]
    widths = [shape[0], *channels]
    down: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        down += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
    up: list[nn.Module] = []
    for (outputs, inputs), side in list(zip(pairwise(widths), sides, strict=False))[::-1]:
        up += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, output_padding=side % 2)]
    inner = (widths[-1], sides[-1], sides[-1])
    dense = [math.prod(inner), *hidden]
    encoder = nn.Sequential(*down, nn.Flatten(), *_dense([*dense, 2 * latents]))
    decoder = nn.Sequential(*_dense([latents, *dense[::-1]]), nn.Unflatten(1, inner), *up)
    return NaiveVAE(encoder, decoder)


def _dense(widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def main() -> None:
    """Load, train, measure after each epoch, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images")
    parser.add_argument("validation")
    parser.add_argument("--channels", type=int, nargs="*", default=[])
    parser.add_argument("--hidden", type=int, nargs="*", default=[256, 128])
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    images, held_out = (
        torch.from_numpy(np.load(path)) for path in (options.images, options.validation)
    )
    vae = nets(tuple(images.shape[1:]), options.channels, options.hidden, options.latents)
    vae.to(options.device)
    epoch = naive_epoch(vae, images, options.batch_size, options.alpha, options.beta)
    validation = naive_validation(vae, held_out, options.batch_size)
    for _ in range(options.epochs):
        epoch()
        found = validation()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
