"""Devices, their free memory, and the processor's threads and denormals."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import torch

from vaebalance.base.errors import UserError

RESIDENT_SHARE = 0.5
"""Fraction of a device's free memory for images; models and their gradients use the rest."""

THREAD_GRAIN = 2**15
"""Minimum number of tensor elements that torch assigns to a thread."""

Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")


def choose_device(wanted: str) -> torch.device:
    """Return the device for `train.device`.

    Raises:
        UserError: this machine does not have the named device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next((name for name, here in available.items() if here), "cpu"))
    if not available.get(wanted, True):
        raise UserError(
            f"train.device: {wanted!r} is not available on this machine; use auto or cpu."
        )
    return torch.device(wanted)


def free_bytes(device: torch.device) -> int:
    """Return the number of bytes available for images on a CUDA device."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(RESIDENT_SHARE * free)


def working_memory() -> int:
    """Return the largest size in bytes of a file that the system keeps in memory once read."""
    return int(RESIDENT_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Limit torch to `count` threads within the block; None keeps the present number."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else min(count, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def flushed() -> Iterator[None]:
    """Flush denormal results to zero within the block, if the processor supports it.

    Adam's averages of a dead unit shrink to denormal numbers, with which a processor computes many
    times slower: a compiled step of dense layers with half of its units dead takes 1.25 times as
    long. Flushing changes no weight. Threads that start within the block keep the setting; threads
    that already exist are not affected, see `start_threads`.
    """
    was = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was)


def start_threads() -> None:
    """Start torch's threads with denormals flushed, unless they have started already.

    The threads keep this setting, so their part of any later operation flushes denormals to zero.
    """
    with flushed():
        torch.zeros(THREAD_GRAIN * torch.get_num_threads()).add_(1)


def on_threads(
    count: int | None, source: Generator[Yielded, None, Returned]
) -> Generator[Yielded, None, Returned]:
    """Iterate `source` with `count` threads and denormals flushed.

    The caller's settings are restored between items.

    Args:
        count: number of threads, see `threads`.
        source: generator to iterate; it is closed at the end, even at an early one.
    """
    with closing(source):
        while True:
            try:
                with threads(count), flushed():
                    item = next(source)
            except StopIteration as end:
                result: Returned = end.value
                return result
            yield item
