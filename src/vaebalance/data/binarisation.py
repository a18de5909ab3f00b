"""Binarisation of grey levels, and conversion of bytes to pixels in [0, 1].

A grey level g/255 is the probability of white. `threshold` and `static` binarise once and store 0
and 255; `dynamic` samples again each time an image is used (Salakhutdinov & Murray 2008). Results
under static and dynamic binarisation are not comparable (Burda et al. 2016).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Binarisation = Literal["none", "threshold", "static", "dynamic"]


def binarise(
    images: NDArray[np.uint8], digests: Sequence[bytes], binarisation: Binarisation, seed: int
) -> NDArray[np.uint8]:
    """Return the images [n, C, H, W] as they are stored.

    `static` samples depend only on the seed and the image's digest, so adding a picture changes no
    other and duplicates stay duplicates.

    Args:
        images: grey levels, [n, C, H, W].
        digests: digest of each image's content.
        binarisation: how to binarise; `none` and `dynamic` return the images unchanged.
        seed: seed of the static samples.
    """
    if binarisation == "threshold":
        return np.where(images >= 128, np.uint8(255), np.uint8(0))
    if binarisation == "static":
        size = int(np.prod(images.shape[1:]))
        # An extendable hash is a random stream that does not change between library versions.
        noise = b"".join(
            hashlib.shake_256(f"static/{seed}/".encode() + digest).digest(2 * size)
            for digest in digests
        )
        draws = np.frombuffer(noise, "<u2").reshape(images.shape).astype(np.uint32)
        # u/65536 < g/255 in integers: exact at both ends, within 1.6e-5 of g/255 between them.
        return np.where(draws * 255 < images.astype(np.uint32) * 65536, np.uint8(255), np.uint8(0))
    return images


def to_pixels(
    images: Tensor, binarisation: str, generator: torch.Generator | None = None
) -> Tensor:
    """Convert bytes to the float32 pixels in [0, 1] that a model takes, on the images' device.

    Args:
        images: uint8 [...], as returned by `Dataset.images`.
        binarisation: how the images were prepared; `dynamic` samples black or white at each call.
        generator: source of the dynamic samples; it must be on the images' device.
    """
    if binarisation == "dynamic":
        # u is uniform on 0 … 254, so that P(u < g) is g/255 exactly.
        draws = torch.randint(
            0, 255, images.shape, generator=generator, dtype=torch.uint8, device=images.device
        )
        return (draws < images).to(torch.float32)
    if binarisation not in get_args(Binarisation):
        raise ValueError(f"binarisation {binarisation!r}: not one of {get_args(Binarisation)}")
    return images.to(torch.float32).div_(255)
