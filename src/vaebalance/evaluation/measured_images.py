"""A split, read block by block, with the same pixels at every reading."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from tqdm import tqdm

from vaebalance.base.errors import UserError
from vaebalance.base.seeds import derive_seed
from vaebalance.data import Binarisation, Dataset, to_pixels
from vaebalance.data.binarisation import binarise
from vaebalance.vae.model import VAE


@dataclass(frozen=True)
class MeasuredImages:
    """Stored images whose dynamic binarisation depends on seed and position only.

    So every measure uses the same pixels, whatever the block size.
    """

    stored: Tensor  # [N, C, H, W] uint8
    binarisation: Binarisation
    seed: int
    positions: Sequence[int] | None = None
    """Positions [N] in the split, if this is a part of it; None: all of it, in order."""
    features: Tensor | None = None
    """Outputs [N, features] of a model's encoder, see `encoded`; None: not computed yet."""

    def __len__(self) -> int:
        return self.stored.shape[0]

    def pixels(self, part: slice, device: torch.device) -> Tensor:
        """Read pixels [B, C, H, W], float in [0, 1], onto `device`."""
        stored, binarisation = self.stored[part], self.binarisation
        if binarisation == "dynamic":
            positions = range(len(self)) if self.positions is None else self.positions
            keys = [position.to_bytes(8, "big") for position in positions[part]]
            stored = torch.from_numpy(binarise(stored.numpy(), keys, "static", self.seed))
            binarisation = "static"
        return to_pixels(stored.to(device), binarisation)

    def spread(self, kept: int) -> MeasuredImages:
        """Select at most `kept` evenly spread images, with their pixels in the whole."""
        return self.at(spread(len(self), kept))

    def at(self, index: Tensor) -> MeasuredImages:
        """Select the images at `index` [M], with the pixels that they have in the whole."""
        positions = index if self.positions is None else torch.tensor(self.positions)[index]
        features = None if self.features is None else self.features[index]
        return replace(
            self, stored=self.stored[index], positions=positions.tolist(), features=features
        )

    def blocks(self, size: int, device: torch.device, activity: str) -> Iterator[Tensor]:
        """Iterate over all pixels, `size` images at a time, with a progress bar on a terminal."""
        with tqdm(
            total=len(self), desc=activity, unit=" images", disable=None, delay=1, file=sys.stderr
        ) as bar:
            for start in range(0, len(self), size):
                x = self.pixels(slice(start, start + size), device)
                yield x
                bar.update(len(x))

    def encoded_blocks(
        self, model: VAE, size: int, activity: str
    ) -> Iterator[tuple[Tensor, Independent[Distribution]]]:
        """Iterate like `blocks`, with the q(z|x) of each block, on the model's device."""
        device, start = model.prior.mean.device, 0
        for x in self.blocks(size, device, activity):
            part = slice(start, start + len(x))
            start = part.stop
            if self.features is None:
                yield x, model.encode(x)
            else:
                yield x, model.posterior(self.features[part].to(device))


@torch.inference_mode()
def encoded(model: VAE, images: MeasuredImages, batch_size: int) -> MeasuredImages:
    """Return the same images with the outputs of the model's encoder.

    Several measures of this model then run its encoder only once. The result is wrong for any other
    model.
    """
    blocks = images.blocks(batch_size, model.prior.mean.device, "encoding")
    (features,) = gathered(((model.features(x).cpu(),) for x in blocks), len(images))
    return replace(images, features=features)


def spread(count: int, kept: int) -> Tensor:
    """Spread at most `kept` positions evenly over `count`, which may be sorted by label: int64."""
    kept = min(count, kept)
    return torch.arange(kept) * count // max(1, kept)


def gathered(blocks: Iterable[tuple[Tensor, ...]], count: int) -> tuple[Tensor, ...]:
    """Concatenate blocks [B, …] of rows to tensors of `count` rows: torch.cat for each in turn.

    Use this instead of a list to keep a split's numbers while further blocks are decoded: small
    tensors that stay between large ones that are freed fragment the heap, so that memory grows with
    the number of blocks.

    Args:
        blocks: blocks of consecutive rows, at least one.
        count: number of rows in all blocks together.

    Raises:
        ValueError: the blocks have fewer or more rows.
    """
    whole: tuple[Tensor, ...] = ()
    filled = 0
    for block in blocks:
        if not whole:
            whole = tuple(part.new_empty(count, *part.shape[1:]) for part in block)
        rows = slice(filled, filled + len(block[0]))
        filled = rows.stop
        if filled > count:
            break
        for target, part in zip(whole, block, strict=True):
            target[rows] = part
    if filled != count:
        raise ValueError(f"the blocks have {filled} rows; expected {count}")
    return whole


def measured_images(dataset: Dataset, split: str, seed: int) -> MeasuredImages:
    """Open a split of the data set.

    Raises:
        UserError: the split is empty.
    """
    stored = dataset.images(split)
    if len(stored) == 0:
        raise UserError(
            f"the {split} split is empty, so there is nothing to measure; raise "
            f"data.{split}_fraction, or add images."
        )
    return MeasuredImages(
        stored, dataset.info.binarisation, derive_seed(seed, "binarisation", split)
    )
