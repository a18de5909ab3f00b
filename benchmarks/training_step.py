"""Our training against the loop that everyone writes, in one process, taking turns.

    python benchmarks/training_step.py [--rounds 7]

Prints images/s of both and their ratio, round by round paired: medians and spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vaebalance.balances import Fixed
from vaebalance.likelihoods import Bernoulli
from vaebalance.model import VAE, ModelSpec
from vaebalance.networks import Architecture, Conv, Mlp
from vaebalance.training import Images, Learner, TrainSpec, train

CASES: dict[str, tuple[Architecture, int, int, int]] = {
    "mlp 784-400-20, batch 128": (Mlp(hidden=(400,)), 20, 128, 20_000),
    "mlp 784-512-256-16, batch 512": (Mlp(hidden=(512, 256)), 16, 512, 20_000),
    "conv 28×28, batch 128": (Conv(channels=(32, 64), hidden=(256,)), 16, 128, 1_500),
}


class NaiveVAE(nn.Module):
    """As in the tutorials: sigmoid in the decoder, (mu, logvar) out of the encoder."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, 1, 28, 28] -> reconstruction, mu, logvar."""
        mu, logvar = self.encoder(x).chunk(2, -1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.decoder(z)), mu, logvar


def make_model(architecture: Architecture, latent_size: int) -> VAE:
    """The same weights for both."""
    torch.manual_seed(0)
    spec = ModelSpec(architecture=architecture, latent_size=latent_size, posterior="gaussian")
    return VAE(spec, Bernoulli(), (1, 28, 28))


def naive_epoch(model: VAE, images: torch.Tensor, batch_size: int) -> Callable[[], None]:
    """DataLoader over float tensors, Adam, sigmoid + BCE, three `.item()` a step."""
    vae = NaiveVAE(model)
    loader = DataLoader(TensorDataset(images.float() / 255), batch_size, shuffle=True)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)

    def epoch() -> None:
        total, bces, klds = 0.0, 0.0, 0.0
        for (x,) in loader:
            optimizer.zero_grad()
            reconstruction, mu, logvar = vae(x)
            bce = nn.functional.binary_cross_entropy(reconstruction, x, reduction="sum")
            kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss = (bce + kld) / len(x)
            loss.backward()
            optimizer.step()
            total, bces, klds = total + loss.item(), bces + bce.item(), klds + kld.item()

    return epoch


def our_epoch(model: VAE, images: torch.Tensor, batch_size: int) -> Callable[[], None]:
    """One epoch of `vaebalance.training.train`, its reports included."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    learner = Learner(model, optimizer, Fixed(), {})
    spec = TrainSpec(
        epochs=1,
        batch_size=batch_size,
        learning_rate=1e-3,
        gradient_clip=None,
        patience=None,
        checkpoint_every=1,
        device="cpu",
        precision="fp32",
        compile="off",
    )
    stored = Images(images, "none")
    few = Images(images[:100], "none")

    def epoch() -> None:
        for _ in train(learner, stored, few, spec, seed=0):
            pass

    return epoch


def seconds(action: Callable[[], None]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds")
    print(f"{'case':32} {'naive img/s':>12} {'ours img/s':>12} {'ratio median (min–max)':>24}")
    for name, (architecture, latent_size, batch_size, count) in CASES.items():
        images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8)
        naive = naive_epoch(make_model(architecture, latent_size), images, batch_size)
        ours = our_epoch(make_model(architecture, latent_size), images, batch_size)
        pairs = [(seconds(naive), seconds(ours)) for _ in range(rounds + 1)][1:]  # one warms up
        ratios = [a / b for a, b in pairs]
        speeds = [count / statistics.median(column) for column in zip(*pairs, strict=True)]
        print(
            f"{name:32} {speeds[0]:12,.0f} {speeds[1]:12,.0f} "
            f"{statistics.median(ratios):12.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
