"""Images decoded from codes: reconstructions, samples, traversals, manifolds, interpolations.

Each picture is the mean of p(x|z), in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed
from vaebalance.vae.elbo import rate_by_latent
from vaebalance.vae.model import VAE

CODES_AT_ONCE = 256


@dataclass(frozen=True)
class Reconstructed:
    """Images decoded from z = E[z|x], with their distortions and rates."""

    pictures: Tensor  # [B, C, H, W]
    distortion: Tensor  # [B], −log p(x|z) as the likelihood defines it
    rate: Tensor  # [B] nats


@torch.inference_mode()
def reconstruct(model: VAE, x: Tensor) -> Reconstructed:
    """Encode and decode x [B, C, H, W] in [0, 1]."""
    posterior = model.encode(x)
    likelihood = model.decode(posterior.mean)
    rate = rate_by_latent(posterior, model.prior).sum(-1)
    return Reconstructed(likelihood.mean, -likelihood.log_prob(x), rate)


@torch.inference_mode()
def decode(model: VAE, z: Tensor) -> Tensor:
    """Decode codes [N, Z] to pictures [N, C, H, W], in batches."""
    return torch.cat([model.decode(part).mean for part in z.split(CODES_AT_ONCE)])


def prior_samples(model: VAE, count: int, seed: int) -> Tensor:
    """Decode z ~ N(0, I) to pictures [count, C, H, W]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "prior samples"))
    return decode(model, torch.randn((count, model.latent_size), generator=generator))


def traverse(model: VAE, start: Tensor, latents: Sequence[int], values: Tensor) -> Tensor:
    """Decode `start` with one latent at a time set to each of its values.

    Args:
        model: model whose decoder is used.
        start: code [Z].
        latents: indices of L latents.
        values: values of each of these latents [L, S].

    Returns:
        Pictures [L, S, C, H, W].
    """
    z = start.expand(*values.shape, len(start)).clone()
    for row, latent in enumerate(latents):
        z[row, :, latent] = values[row]
    decoded: Tensor = decode(model, z.flatten(0, 1)).unflatten(0, values.shape)
    return decoded


def manifold(model: VAE, centre: Tensor, latents: Sequence[int], values: Tensor) -> Tensor:
    """Decode `centre` with one or two latents varied over a line or a grid.

    Args:
        model: model whose decoder is used.
        centre: code [Z].
        latents: index of the latent that grows to the right and, optionally, of one that grows
            upwards.
        values: ascending values of each of these latents [L, S].

    Returns:
        Pictures [1, S, C, H, W] for one latent, [S, S, C, H, W] for two, top row first.
    """
    rows = values[1].flip(0) if len(latents) > 1 else values[0, :1]
    z = centre.expand(len(rows), values.shape[1], len(centre)).clone()
    z[..., latents[0]] = values[0]
    if len(latents) > 1:
        z[..., latents[1]] = rows[:, None]
    decoded: Tensor = decode(model, z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return decoded


def interpolate(model: VAE, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Decode codes along straight lines.

    Args:
        model: model whose decoder is used.
        start: first code of each line [P, Z].
        end: last code of each line [P, Z].
        shares: positions on the lines [S], from 0 at `start` to 1 at `end`.

    Returns:
        Pictures [P, S, C, H, W].
    """
    z = torch.lerp(start[:, None], end[:, None], shares[None, :, None])
    decoded: Tensor = decode(model, z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return decoded
