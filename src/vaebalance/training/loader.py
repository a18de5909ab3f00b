"""Stored images, and how they come to the training step: at hand, or read ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaebalance.base.devices import room, working_memory
from vaebalance.data import to_pixels

AHEAD = 4
"""Batches that are read before they are asked for."""


@dataclass(frozen=True)
class Images:
    """Stored images and how they become pixels."""

    stored: Tensor  # [N, C, H, W] uint8
    binarisation: str

    def __len__(self) -> int:
        return self.stored.shape[0]

    def near(self, device: torch.device) -> Images:
        """The same on a CUDA device, if it has room for them; as they are elsewhere."""
        if device.type != "cuda" or self.stored.is_cuda or self.stored.nbytes > room(device):
            return self
        return replace(self, stored=self.stored.to(device))

    def pick(self, indices: Tensor | slice, device: torch.device) -> Tensor:
        """[B, C, H, W] uint8 on `device`."""
        return _rows(self.stored, indices).to(device, non_blocking=True)

    def pixels(
        self,
        indices: Tensor | slice,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """[B, C, H, W] float in [0, 1] on `device`; dynamic binarisation draws anew.

        Args:
            indices: of the images.
            device: of the pixels.
            generator: source of that draw, on `device`; None: torch's own.
        """
        return to_pixels(self.pick(indices, device), self.binarisation, generator)

    def batches(self, order: Tensor, size: int, device: torch.device) -> Iterator[Tensor]:
        """The images in this order [N], `size` at a time, for a step that takes them by `read`.

        Of images on the device only the places are given, so that taking them is a part of the
        step. What is not at hand (a file that memory does not hold, or that travels to a device)
        is read by a thread while the device computes.
        """
        places = order.to(self.stored.device).split(size)
        if self.stored.is_cuda:
            return iter(places)
        travels = device.type == "cuda"
        if not travels and self.stored.nbytes <= working_memory():
            return (self.pick(batch, device) for batch in places)
        pinned = _ahead(lambda batch: self._read(batch, pin=travels), places)
        return (batch.to(device, non_blocking=True) for batch in pinned)

    def shuffled(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """Iterate over `batches` of all images in an order that is drawn now."""
        return self.batches(torch.randperm(len(self)), size, device)

    def read(self, batch: Tensor) -> Tensor:
        """The stored images [B, C, H, W] of a batch as `batches` gives it."""
        return _rows(self.stored, batch) if batch.dtype == torch.int64 else batch

    def _read(self, indices: Tensor, *, pin: bool) -> Tensor:
        found = _rows(self.stored, indices)
        return found.pin_memory() if pin else found


def _rows(stored: Tensor, indices: Tensor | slice) -> Tensor:
    """`stored[indices]`, some six times as fast for indices in a tensor."""
    return stored[indices] if isinstance(indices, slice) else stored.index_select(0, indices)


def _ahead(read: Callable[[Tensor], Tensor], indices: Sequence[Tensor]) -> Iterator[Tensor]:
    """`read` of each, in order, `AHEAD` of them before they are asked for."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        waiting = deque(pool.submit(read, batch) for batch in indices[:AHEAD])
        for place in range(len(indices)):
            found = waiting.popleft().result()
            if place + AHEAD < len(indices):
                waiting.append(pool.submit(read, indices[place + AHEAD]))
            yield found
