"""Where tensors live, and how much of them fits there."""

from __future__ import annotations

import os

import torch

from vaebalance.errors import UserError

RESIDENT_SHARE = 0.5
"""Of a device's free memory, that images may take: models and their gradients need the rest."""


def choose_device(wanted: str) -> torch.device:
    """The device for `train.device`.

    Raises:
        UserError: the named device is not on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next((name for name, here in available.items() if here), "cpu"))
    if not available.get(wanted, True):
        raise UserError(
            f"train.device: {wanted!r} is not available on this machine; use auto or cpu."
        )
    return torch.device(wanted)


def room(device: torch.device) -> int:
    """Bytes that images may take on a CUDA device."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(RESIDENT_SHARE * free)


def working_memory() -> int:
    """Bytes of a file that the system may be expected to keep in memory, once read."""
    return int(RESIDENT_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
