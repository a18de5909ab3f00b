"""Hold the rate of your own VAE at 8 nats: a PyTorch loop of one's own with a balance in it."""

import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import vaebalance as vb


def train(epochs: int = 20, target: float = 8.0) -> list[float]:
    """Train on the digits; return each epoch's mean rate, in nats per image."""
    torch.manual_seed(0)
    digits = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    encoder = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 2 * 8))
    decoder = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 64))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    # Larger gains than the defaults, which are meant for longer trainings: kp damps, ki corrects.
    balance = vb.ControlVae(rate=target, kp=1.0, ki=0.01)
    state = balance.initial_state(vb.RunFacts(dimensions=64, latent_size=8, steps=29 * epochs))
    rates = []
    for _ in range(epochs):
        total = 0.0
        for x in digits[torch.randperm(len(digits))].split(64):
            mean, log_variance = encoder(x).chunk(2, dim=1)
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            errors = binary_cross_entropy_with_logits(decoder(z), x, reduction="none")
            rate_by_latent = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1)

            terms = vb.ElboTerms(errors.sum(1), rate_by_latent)
            weights = balance.weights(state, terms.detach())
            state = balance.next_state(state, terms.detach())
            loss = vb.weighted_loss(terms, weights)

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(terms.rate.detach().sum())
        rates.append(total / len(digits))
    return rates


if __name__ == "__main__":
    for number, rate in enumerate(train(), start=1):
        print(f"epoch {number:2}: {rate:.2f} nats per image")
