"""Where tensors live, how many fit there, and how the processor computes: its threads, its zero."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import torch

from vaebalance.base.errors import UserError

RESIDENT_SHARE = 0.5
"""Of a device's free memory, that images may take: models and their gradients need the rest."""

THREAD_GRAIN = 2**15
"""Elements of a tensor that torch gives to a thread at least."""

Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")


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


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of the process within the block, or as many as it has; None: as it has."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else min(count, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def flushed() -> Iterator[None]:
    """Within the block results below the least normal number are 0, where the processor can.

    What Adam remembers of a unit that is dead shrinks to such numbers, with which a processor
    computes many times slower: a compiled step of dense layers, half of its units dead, takes 1.25
    times as long. No weight changes by it. Threads that begin within the block keep it so; those
    that were there are not flushed: see `start_threads`.
    """
    was = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was)


def start_threads() -> None:
    """Start torch's threads, `flushed`, if nothing has been computed on them: they stay so.

    Whoever uses them has zeros for subnormals in their part of an operation.
    """
    with flushed():
        torch.zeros(THREAD_GRAIN * torch.get_num_threads()).add_(1)


def on_threads(
    count: int | None, source: Generator[Yielded, None, Returned]
) -> Generator[Yielded, None, Returned]:
    """What `source` yields, which runs on so many threads, `flushed`; whoever reads it, as before.

    Args:
        count: see `threads`.
        source: is closed at the end, also at an early one.
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
