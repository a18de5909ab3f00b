"""What every source of pictures offers: a list of what there is, and a way to read it in batches.

A new source is one class that makes a `Collection`, and its name in `spec.Source`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaebalance.base.specs import Spec

CHUNK_BYTES = 8 * 2**20
"""Pixels that are held in memory at once, wherever pictures are read, binarised or written."""


class Batch(NamedTuple):
    """Some pictures, in the order in which they were asked for."""

    images: NDArray[np.uint8]
    """[n, C, H, W]; zeros where there is a reason."""
    sizes: NDArray[np.int64]
    """[n, 2] width and height as displayed, before any resizing; 0 where unknown."""
    reasons: list[str | None]
    """Why a picture is set aside; None for a good one."""


@dataclass(frozen=True)
class Collection:
    """All the pictures of a source, of which none is decoded yet.

    `read(positions)` yields batches that together are the pictures at `positions`, in that order.
    """

    name: str
    image_shape: tuple[int, int, int]
    """C, H, W."""
    paths: Sequence[str]
    """A printable name for each picture."""
    labels: NDArray[np.int64]
    """[N]; -1 where there is none."""
    read: Callable[[NDArray[np.int64]], Iterator[Batch]]
    label_names: tuple[str, ...] | None = None
    factors: NDArray[np.int64] | None = None
    """[N, F] index of each picture's value of each factor of variation, where they are known."""
    factor_names: tuple[str, ...] | None = None
    factor_sizes: tuple[int, ...] | None = None
    published_test: NDArray[np.bool_] | None = None
    """[N] whether a picture belongs to the published test set; None where none is published."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """How many files of each kind were passed over because they are no pictures."""


class AbstractSource(Spec, ABC):
    """Where pictures come from."""

    @abstractmethod
    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """List the pictures.

        Args:
            root: folder of the raw data, for sources that have files.
            max_pixels: a picture of more pixels is set aside without being decoded.
            workers: decoding processes; None for one a core.

        Raises:
            UserError: the source cannot be read at all.
        """


def chunks(count: int, image_shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut `count` pictures into runs of at most `CHUNK_BYTES` bytes."""
    step = max(1, CHUNK_BYTES // int(np.prod(image_shape)))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def read_array(
    images: NDArray[np.uint8],
) -> Callable[[NDArray[np.int64]], Iterator[Batch]]:
    """A `Collection.read` over pictures [N, C, H, W] that are all in memory and all good."""
    _, _, height, width = images.shape

    def read(positions: NDArray[np.int64]) -> Iterator[Batch]:
        for part in chunks(len(positions), images.shape[1:]):
            chosen = images[positions[part]]
            sizes = np.tile(np.array([width, height], np.int64), (len(chosen), 1))
            yield Batch(chosen, sizes, [None] * len(chosen))

    return read
