"""The prepared tensors on disk, opened as memory maps."""

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
    """Content of dataset.json.

    The statistics describe the training split's pixels in [0, 1]; for dynamic binarisation they
    are expectations over its samples.
    """

    name: str
    """Kind of the source."""
    image_shape: tuple[int, int, int]
    """C, H, W."""
    splits: Mapping[str, int]
    """Number of images in each split."""
    binarisation: Binarisation
    label_names: tuple[str, ...] | None
    factor_names: tuple[str, ...] | None
    factor_sizes: tuple[int, ...] | None
    """Number of values of each factor of variation."""
    pixel_mean: tuple[float, ...]
    """Mean of each channel."""
    pixel_std: tuple[float, ...]
    """Standard deviation of each channel."""
    squared_error_of_mean: float
    """Squared error of the mean image, summed over pixels and averaged over images: the least
    error of a decoder that ignores its code."""
    bernoulli_distortion_of_mean: float
    """Cross-entropy of the mean image, in nats per image."""
    constant_pixels: int
    """Number of pixels (out of C·H·W) that are equal in all training images."""
    duplicates: int
    """Number of images that repeat the content of another, in any split."""
    set_aside: Mapping[str, int]
    """Number of pictures in no split, by reason."""
    ignored: Mapping[str, int]
    """Number of files that are not pictures, by file extension."""
    seed: int
    digest: str
    """SHA-256 of the ordered content and the binarisation."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild the object from values that `to_json` wrote to a file."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields)

    def summary(self) -> str:
        """Describe the data set in one to three lines."""
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
    """A folder written by `prepare`."""

    folder: Path
    info: DatasetInfo

    def images(self, split: str) -> Tensor:
        """Return the images, uint8 [N, C, H, W], mapped from the file and read when used.

        Writing to the tensor changes only this process's copy, not the file.
        """
        return torch.from_numpy(self._map(split, "images"))

    def labels(self, split: str) -> Tensor | None:
        """Return the labels, int64 [N], -1 for an image without one; None if there are none."""
        if self.info.label_names is None:
            return None
        return torch.from_numpy(self._map(split, "labels"))

    def factors(self, split: str) -> Tensor | None:
        """Return the factors' value indices, int64 [N, F]; None if the source has no factors."""
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
        UserError: the data is missing or incomplete.
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / INFO).read_text(encoding="utf-8"))
        dataset = Dataset(folder, DatasetInfo.from_json(values))
        for split in SPLITS:
            _check(dataset, split)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{folder}: prepared data is missing or incomplete ({error}); run `dvc repro prepare`."
        ) from error
    return dataset


def _check(dataset: Dataset, split: str) -> None:
    info = dataset.info
    count = info.splits[split]
    images, labels, factors = dataset.images(split), dataset.labels(split), dataset.factors(split)
    if images.dtype != torch.uint8 or tuple(images.shape) != (count, *info.image_shape):
        raise ValueError(f"{split}.images.npy does not match {INFO}")
    if labels is not None and tuple(labels.shape) != (count,):
        raise ValueError(f"{split}.labels.npy does not match {INFO}")
    if factors is not None and len(factors) != count:
        raise ValueError(f"{split}.factors.npy does not match {INFO}")
