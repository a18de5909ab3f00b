"""Named seeds, and measurements that leave the random state unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


def derive_seed(seed: int, *names: object) -> int:
    """Derive an independent 63-bit seed for a purpose, such as `"epoch", 3`, of the run `seed`."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def forked(seed: int) -> Iterator[None]:
    """Run the block with torch's generators seeded by `seed`; restore them afterwards."""
    if _has_accelerator():
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
        return
    # Takes a fiftieth of the time of fork_rng, which also seeds absent devices. Measuring a small
    # model forks for every few images.
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()
