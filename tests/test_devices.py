"""`train.device`."""

import pytest
import torch

from vaebalance.devices import choose_device
from vaebalance.errors import UserError


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}
    missing = [
        name
        for name, here in (
            ("cuda", torch.cuda.is_available()),
            ("mps", torch.backends.mps.is_available()),
        )
        if not here
    ]
    for name in missing:
        with pytest.raises(UserError, match=f"train.device: '{name}' is not available"):
            choose_device(name)
