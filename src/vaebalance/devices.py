"""Where tensors live."""

from __future__ import annotations

import torch

from vaebalance.errors import UserError


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
