"""What the model makes of codes: reconstructions, samples, traversals, a manifold, interpolations.

Pictures are the mean of p(x|z), in [0, 1].
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
    """Images, decoded from z = E[z|x]."""

    pictures: Tensor  # [B, C, H, W]
    distortion: Tensor  # [B], −log p(x|z) as the likelihood defines it
    rate: Tensor  # [B] nats


@torch.inference_mode()
def reconstruct(model: VAE, x: Tensor) -> Reconstructed:
    """Pass x [B, C, H, W] in [0, 1] through its code."""
    posterior = model.encode(x)
    likelihood = model.decode(posterior.mean)
    rate = rate_by_latent(posterior, model.prior).sum(-1)
    return Reconstructed(likelihood.mean, -likelihood.log_prob(x), rate)


@torch.inference_mode()
def decode(model: VAE, z: Tensor) -> Tensor:
    """[N, Z] -> pictures [N, C, H, W], a bounded number of codes at a time."""
    return torch.cat([model.decode(part).mean for part in z.split(CODES_AT_ONCE)])


def prior_samples(model: VAE, count: int, seed: int) -> Tensor:
    """Pictures of z ~ N(0, I): [count, C, H, W]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "prior samples"))
    return decode(model, torch.randn((count, model.latent_size), generator=generator))


def traverse(model: VAE, start: Tensor, latents: Sequence[int], values: Tensor) -> Tensor:
    """One latent at a time set to each of its values, the others left as in `start`.

    Args:
        model: the decoder.
        start: code [Z].
        latents: which ones, L of them.
        values: [L, S].

    Returns:
        [L, S, C, H, W].
    """
    z = start.expand(*values.shape, len(start)).clone()
    for row, latent in enumerate(latents):
        z[row, :, latent] = values[row]
    decoded: Tensor = decode(model, z.flatten(0, 1)).unflatten(0, values.shape)
    return decoded


def manifold(model: VAE, centre: Tensor, latents: Sequence[int], values: Tensor) -> Tensor:
    """The pictures over a plane, or a line, of latents; the others stay as in `centre`.

    Args:
        model: the decoder.
        centre: code [Z].
        latents: one, to the right; or two, the second upwards.
        values: [L, S], ascending.

    Returns:
        [1, S, C, H, W] of one latent, [S, S, C, H, W] of two, the topmost row first.
    """
    rows = values[1].flip(0) if len(latents) > 1 else values[0, :1]
    z = centre.expand(len(rows), values.shape[1], len(centre)).clone()
    z[..., latents[0]] = values[0]
    if len(latents) > 1:
        z[..., latents[1]] = rows[:, None]
    decoded: Tensor = decode(model, z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return decoded


def interpolate(model: VAE, start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """The pictures along the straight line between codes: start, end [P, Z] -> [P, S, C, H, W].

    Args:
        model: the decoder.
        start: where each line begins.
        end: where it ends.
        shares: [S] of the way.
    """
    z = torch.lerp(start[:, None], end[:, None], shares[None, :, None])
    decoded: Tensor = decode(model, z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return decoded
