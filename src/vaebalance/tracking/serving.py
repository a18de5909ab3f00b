"""The four calls of a served model, independent of MLflow.

    reconstruct   images [N, C, H, W]  -> {"images": [N, C, H, W]}
    encode        images [N, C, H, W]  -> {"mean": [N, Z], "standard_deviation": [N, Z]}
    decode        latents [N, Z]       -> {"images": [N, C, H, W]}
    sample        n, seed              -> {"images": [n, C, H, W]}

Pixels are in [0, 1]; returned images are means of p(x|z). Grey images may have the shape [N, H, W],
all images [N, C·H·W].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.vae.model import VAE

BATCH = 1000
MOST_SAMPLES = 10_000

Answer = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Request:
    """A client's request; `images` and `latents` are nested lists or arrays, one row per item."""

    call: str = ""
    images: Sequence[Any] | None = None
    latents: Sequence[Any] | None = None
    n: int = 16
    seed: int = 0


@torch.inference_mode()
def answer(model: VAE, request: Request) -> Answer:
    """Answer a request on the CPU.

    Raises:
        UserError: the call is unknown, or its input is missing or has a wrong shape or range.
    """
    if request.call not in CALLS:
        raise UserError(
            f"params.call is {request.call!r}; it must be one of {', '.join(CALLS)}, as in "
            '{"inputs": {"images": [...]}, "params": {"call": "reconstruct"}}.'
        )
    return CALLS[request.call](model, request)


def _reconstruct(model: VAE, request: Request) -> Answer:
    images = images_tensor(request, model.image_shape)
    return {"images": _in_batches(images, lambda x: _pixels(model, model.encode(x).mean))}


def _encode(model: VAE, request: Request) -> Answer:
    images = images_tensor(request, model.image_shape)
    return {
        "mean": _in_batches(images, lambda x: model.encode(x).mean),
        "standard_deviation": _in_batches(images, lambda x: model.encode(x).stddev),
    }


def _decode(model: VAE, request: Request) -> Answer:
    latents = latents_tensor(request, model.latent_size)
    return {"images": _in_batches(latents, lambda z: _pixels(model, z))}


def _sample(model: VAE, request: Request) -> Answer:
    if not model.is_variational:
        raise UserError(
            "this model is a plain autoencoder, which has no prior to sample from; use decode "
            "with your own latents."
        )
    if not 1 <= request.n <= MOST_SAMPLES:
        raise UserError(f"params.n is {request.n}; it must be between 1 and {MOST_SAMPLES}.")
    if not 0 <= request.seed < 2**63:
        raise UserError(f"params.seed is {request.seed}; it must be between 0 and 2^63 - 1.")
    # A separate generator, because several threads answer requests.
    generator = torch.Generator().manual_seed(request.seed)
    noise = torch.randn(request.n, model.latent_size, generator=generator)
    latents = model.prior.mean + model.prior.stddev * noise
    return {"images": _in_batches(latents, lambda z: _pixels(model, z))}


CALLS: dict[str, Callable[[VAE, Request], Answer]] = {
    "reconstruct": _reconstruct,
    "encode": _encode,
    "decode": _decode,
    "sample": _sample,
}


def images_tensor(request: Request, shape: tuple[int, int, int]) -> Tensor:
    """Convert the request's images to [N, C, H, W] float in [0, 1].

    Raises:
        UserError: there are none, or they have another shape or range.
    """
    channels, height, width = shape
    images = _numbers(request, "images", request.images)
    allowed = [(channels, height, width), (channels * height * width,)]
    if channels == 1:
        allowed.insert(1, (height, width))
    if tuple(images.shape[1:]) not in allowed:
        shapes = " or ".join(f"[N, {', '.join(map(str, tail))}]" for tail in allowed)
        raise UserError(f"images has the shape {list(images.shape)}; it must be {shapes}.")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"images has values from {low:g} to {high:g}; pixels must be between 0 and 1 "
            "(divide 8-bit values by 255)."
        )
    return images.reshape(-1, *shape)


def latents_tensor(request: Request, latent_size: int) -> Tensor:
    """Convert the request's latents to [N, Z] float.

    Raises:
        UserError: there are none, they have another shape, or one is not finite.
    """
    latents = _numbers(request, "latents", request.latents)
    if latents.ndim != 2 or latents.shape[1] != latent_size:
        raise UserError(
            f"latents has the shape {list(latents.shape)}; it must be [N, {latent_size}]."
        )
    if not bool(latents.isfinite().all()):
        raise UserError("latents has a NaN or an infinity; every number must be finite.")
    return latents


def _numbers(request: Request, name: str, values: Sequence[Any] | None) -> Tensor:
    if values is None or len(values) == 0:
        raise UserError(
            f"the call {request.call!r} needs {name}: "
            f'{{"inputs": {{"{name}": [...]}}, "params": {{"call": "{request.call}"}}}}.'
        )
    try:
        array = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{name} must be numbers, every item of the same shape ({error})."
        ) from error
    return torch.from_numpy(np.ascontiguousarray(array))


def _pixels(model: VAE, latents: Tensor) -> Tensor:
    """Decode to the mean of p(x|z), clamped to [0, 1] as a Gaussian's may need."""
    mean: Tensor = model.decode(latents).mean
    return mean.clamp(0, 1)


def _in_batches(items: Tensor, function: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
    parts = [function(batch) for batch in torch.split(items, BATCH)]
    array: NDArray[np.float32] = torch.cat(parts).float().numpy()
    return array
