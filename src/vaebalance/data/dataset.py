"""The prepared tensors on disk, memory-mapped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.data.binarisation import Binarisation
from vaebalance.data.splits import SPLITS

INFO = "dataset.json"
MANIFEST = "manifest.parquet"


@dataclass(frozen=True)
class DatasetInfo:
    """What dataset.json says.

    The statistics are of the training split's pixels in [0, 1], as a model sees them (for dynamic
    binarisation: in expectation over its draws).
    """

    name: str
    """The source's kind."""
    image_shape: tuple[int, int, int]
    """C, H, W."""
    splits: Mapping[str, int]
    """Images in each split."""
    binarisation: Binarisation
    label_names: tuple[str, ...] | None
    factor_names: tuple[str, ...] | None
    factor_sizes: tuple[int, ...] | None
    """How many values each factor of variation has."""
    pixel_mean: tuple[float, ...]
    """Of each channel."""
    pixel_std: tuple[float, ...]
    """Of each channel."""
    squared_error_of_mean: float
    """Squared error to the mean image, summed over pixels, averaged over images: what a decoder
    that ignores its code can reach."""
    bernoulli_distortion_of_mean: float
    """The same decoder's cross-entropy, in nats per image."""
    constant_pixels: int
    """Pixels (of C·H·W) that are the same in every training image."""
    duplicates: int
    """Images whose content has been seen before, in whatever split."""
    set_aside: Mapping[str, int]
    """Pictures that are in no split, by reason."""
    ignored: Mapping[str, int]
    """Files that were not taken for pictures, by ending."""
    seed: int
    digest: str
    """SHA-256 of the ordered content and the binarisation."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, after a passage through a file."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields)

    def summary(self) -> str:
        """One or two lines for the screen."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.splits.items())
        shape = "×".join(map(str, self.image_shape))
        lines = [f"{self.name}: {counts} images of {shape}, digest {self.digest[:12]}"]
        for what, parts in (("set aside", self.set_aside), ("ignored files", self.ignored)):
            if parts:
                listed = ", ".join(f"{count:,} {kind}" for kind, count in parts.items())
                lines.append(f"{what}: {sum(parts.values()):,} ({listed})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Dataset:
    """A prepared folder."""

    folder: Path
    info: DatasetInfo

    def images(self, split: str) -> Tensor:
        """uint8 [N, C, H, W], mapped from the file and not read until used.

        Writing to it changes this process's view, never the file.
        """
        return torch.from_numpy(self._map(split, "images"))

    def labels(self, split: str) -> Tensor | None:
        """int64 [N], -1 for an image without one; None when the source has no labels."""
        if self.info.label_names is None:
            return None
        return torch.from_numpy(self._map(split, "labels"))

    def factors(self, split: str) -> Tensor | None:
        """int64 [N, F], the index of each factor's value; None when the source has no factors."""
        if self.info.factor_names is None:
            return None
        return torch.from_numpy(self._map(split, "factors"))

    def _map(self, split: str, what: str) -> NDArray[Any]:
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: not one of {', '.join(SPLITS)}")
        array: NDArray[Any] = np.load(self.folder / f"{split}.{what}.npy", mmap_mode="c")
        return array


def open_dataset(folder: Path | str) -> Dataset:
    """Open the data that `prepare` wrote to `folder`.

    Raises:
        UserError: it is missing or not whole.
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / INFO).read_text(encoding="utf-8"))
        dataset = Dataset(folder, DatasetInfo.from_json(values))
        for split in SPLITS:
            _check(dataset, split)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{folder}: no whole prepared data there ({error}); run `dvc repro prepare`."
        ) from error
    return dataset


def _check(dataset: Dataset, split: str) -> None:
    info = dataset.info
    count = info.splits[split]
    images, labels, factors = dataset.images(split), dataset.labels(split), dataset.factors(split)
    if images.dtype != torch.uint8 or tuple(images.shape) != (count, *info.image_shape):
        raise ValueError(f"{split}.images.npy does not fit {INFO}")
    if labels is not None and tuple(labels.shape) != (count,):
        raise ValueError(f"{split}.labels.npy does not fit {INFO}")
    if factors is not None and len(factors) != count:
        raise ValueError(f"{split}.factors.npy does not fit {INFO}")
