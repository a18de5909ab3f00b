"""Load batches of stored images, from memory or by a thread that reads ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaebalance.base.devices import free_bytes, working_memory
from vaebalance.data import to_pixels

AHEAD = 4
"""Number of batches to read ahead."""


@dataclass(frozen=True)
class Images:
    """Stored images, and how to convert them to pixels."""

    stored: Tensor  # [N, C, H, W] uint8
    binarisation: str

    def __len__(self) -> int:
        return self.stored.shape[0]

    def to(self, device: torch.device) -> Images:
        """Copy the images to a CUDA device if they fit; for other devices return `self`."""
        if device.type != "cuda" or self.stored.is_cuda or self.stored.nbytes > free_bytes(device):
            return self
        return replace(self, stored=self.stored.to(device))

    def rows(self, indices: Tensor | slice, device: torch.device) -> Tensor:
        """Return the stored images [B, C, H, W] uint8 at `indices`, on `device`."""
        return _select(self.stored, indices).to(device, non_blocking=True)

    def pixels(
        self,
        indices: Tensor | slice,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the pixels [B, C, H, W] float in [0, 1] of the images at `indices`.

        Args:
            indices: places of the images.
            device: device of the pixels.
            generator: generator of dynamic binarisation, on `device`; None: torch's default.
        """
        return to_pixels(self.rows(indices, device), self.binarisation, generator)

    def batches(self, order: Tensor, size: int, device: torch.device) -> Iterator[Tensor]:
        """Iterate over batches of `size` images in `order` [N]; the step converts them by `read`.

        If the images are on a CUDA device, a batch holds their indices, so that the step itself
        selects them. A thread reads ahead if the images do not fit in memory or must be copied to
        the device.
        """
        places = order.to(self.stored.device).split(size)
        if self.stored.is_cuda:
            return iter(places)
        is_copied = device.type == "cuda"
        if not is_copied and self.stored.nbytes <= working_memory():
            return (self.rows(batch, device) for batch in places)
        pinned = _ahead(lambda batch: self._read(batch, pin=is_copied), places)
        return (batch.to(device, non_blocking=True) for batch in pinned)

    def shuffled(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """Iterate over `batches` of all images in a random order, drawn when called."""
        return self.batches(torch.randperm(len(self)), size, device)

    def read(self, batch: Tensor) -> Tensor:
        """Return the stored images [B, C, H, W] uint8 of a batch from `batches`."""
        return _select(self.stored, batch) if batch.dtype == torch.int64 else batch

    def _read(self, indices: Tensor, *, pin: bool) -> Tensor:
        rows = _select(self.stored, indices)
        return rows.pin_memory() if pin else rows


def _select(stored: Tensor, indices: Tensor | slice) -> Tensor:
    """Return `stored[indices]`, about six times as fast as indexing with a tensor."""
    return stored[indices] if isinstance(indices, slice) else stored.index_select(0, indices)


def _ahead(read: Callable[[Tensor], Tensor], indices: Sequence[Tensor]) -> Iterator[Tensor]:
    """Iterate over `read` of each of `indices`, in order, with `AHEAD` calls in flight."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        waiting = deque(pool.submit(read, batch) for batch in indices[:AHEAD])
        for place in range(len(indices)):
            batch = waiting.popleft().result()
            if place + AHEAD < len(indices):
                waiting.append(pool.submit(read, indices[place + AHEAD]))
            yield batch
