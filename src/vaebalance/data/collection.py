"""The interface of a picture source: a list of pictures, and a way to read them in batches.

To add a source, write one class whose `collect` returns a `Collection`, and add it to the union
`data_spec.Source`.
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
"""Size of the chunks in which pictures are read, binarised and written."""


class Batch(NamedTuple):
    """Some pictures, in the order of the requested positions."""

    images: NDArray[np.uint8]
    """[n, C, H, W]; zeros for a picture that is set aside."""
    sizes: NDArray[np.int64]
    """[n, 2] width and height as displayed, before resizing; 0 if unknown."""
    reasons: list[str | None]
    """Why each picture is set aside; None for a usable one."""


@dataclass(frozen=True)
class Collection:
    """All pictures of a source, not decoded yet.

    `read(positions)` yields batches of the pictures at `positions`, in that order.
    """

    name: str
    image_shape: tuple[int, int, int]
    """C, H, W."""
    paths: Sequence[str]
    """A printable name for each picture."""
    labels: NDArray[np.int64]
    """[N]; -1 for a picture without a label."""
    read: Callable[[NDArray[np.int64]], Iterator[Batch]]
    label_names: tuple[str, ...] | None = None
    factors: NDArray[np.int64] | None = None
    """[N, F] index of the value of each factor of variation; None if unknown."""
    factor_names: tuple[str, ...] | None = None
    factor_sizes: tuple[int, ...] | None = None
    published_test: NDArray[np.bool_] | None = None
    """[N] whether a picture belongs to the published test set; None if there is none."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Number of skipped files that are not pictures, by kind."""


class AbstractSource(Spec, ABC):
    """A source of pictures."""

    @abstractmethod
    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """List the pictures of the source.

        Args:
            root: folder of the raw data, for sources that read files.
            max_pixels: largest number of pixels to decode; larger pictures are set aside.
            workers: number of decoding processes; None for one per core.

        Raises:
            UserError: the source cannot be read.
        """


def chunks(count: int, image_shape: tuple[int, ...]) -> Iterator[slice]:
    """Split `count` pictures into consecutive chunks of at most `CHUNK_BYTES` bytes."""
    step = max(1, CHUNK_BYTES // int(np.prod(image_shape)))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def read_array(
    images: NDArray[np.uint8],
) -> Callable[[NDArray[np.int64]], Iterator[Batch]]:
    """Return a `Collection.read` over pictures [N, C, H, W] in memory, all of them usable."""
    _, _, height, width = images.shape

    def read(positions: NDArray[np.int64]) -> Iterator[Batch]:
        for part in chunks(len(positions), images.shape[1:]):
            chosen = images[positions[part]]
            sizes = np.tile(np.array([width, height], np.int64), (len(chosen), 1))
            yield Batch(chosen, sizes, [None] * len(chosen))

    return read
