"""Published arrays: scikit-learn's digits, and torchvision's MNIST family and CIFAR-10."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vaebalance.base.errors import UserError
from vaebalance.data.collection import AbstractSource, Collection, read_array

PATIENCE = 30
"""Seconds to wait for an answer from a download server."""


class Digits(AbstractSource):
    """1,797 handwritten digits of 8x8, included in scikit-learn: needs no file and no network."""

    kind: Literal["digits"] = "digits"

    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """List the digits, with their 17 grey levels 0 to 16 scaled to 0 to 255."""
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        return Collection(
            name=self.kind,
            image_shape=(1, 8, 8),
            paths=[f"digits/{index:04d}" for index in range(len(images))],
            labels=digits.target.astype(np.int64),
            label_names=tuple(str(name) for name in digits.target_names),
            read=read_array(images),
        )


class AbstractPublished(AbstractSource):
    """A torchvision data set with a training and a test part."""

    kind: str
    class_name: ClassVar[str]
    """Its class in torchvision.datasets."""

    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """List both published parts, downloading them to `root` if they are missing."""
        parts = [_torchvision(self.class_name, root, train=train) for train in (True, False)]
        images = np.concatenate([_channels_first(part.data) for part in parts])
        training = len(parts[0].data)
        names = [f"train/{index:05d}" for index in range(training)]
        names += [f"test/{index:05d}" for index in range(len(images) - training)]
        _, channels, height, width = images.shape
        return Collection(
            name=self.kind,
            image_shape=(channels, height, width),
            paths=names,
            labels=np.concatenate([np.asarray(part.targets, np.int64) for part in parts]),
            # torchvision calls MNIST's digits "0 - zero".
            label_names=tuple(name.partition(" - ")[0] for name in parts[0].classes),
            published_test=np.arange(len(images)) >= training,
            read=read_array(images),
        )


class MNIST(AbstractPublished):
    """Handwritten digits, 60,000 + 10,000 of 28x28 (LeCun et al. 1998)."""

    kind: Literal["mnist"] = "mnist"
    class_name: ClassVar[str] = "MNIST"


class FashionMNIST(AbstractPublished):
    """Clothes, 60,000 + 10,000 of 28x28 (Xiao et al. 2017)."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"
    class_name: ClassVar[str] = "FashionMNIST"


class KMNIST(AbstractPublished):
    """Japanese cursive characters, 60,000 + 10,000 of 28x28 (Clanuwat et al. 2018)."""

    kind: Literal["kmnist"] = "kmnist"
    class_name: ClassVar[str] = "KMNIST"


class CIFAR10(AbstractPublished):
    """Photographs of ten classes, 50,000 + 10,000 of 32x32 in colour (Krizhevsky 2009)."""

    kind: Literal["cifar10"] = "cifar10"
    class_name: ClassVar[str] = "CIFAR10"


def _torchvision(class_name: str, root: Path, *, train: bool) -> Any:
    """Load one part from `root`, or download it if it is missing."""
    from torchvision import datasets  # type: ignore[import-untyped]

    dataset = getattr(datasets, class_name)
    try:
        return dataset(root, train=train, download=False)
    except RuntimeError:
        print(f"{class_name} is not in {root}; downloading it", file=sys.stderr)
    try:
        with _patience(PATIENCE):
            return dataset(root, train=train, download=True)
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"data.root = {str(root)!r}: {class_name} is missing or incomplete, and its download "
            f"failed ({reason}). Set data.root to a folder with torchvision's {class_name}, or "
            "connect to the network. If an earlier download was interrupted, delete its files "
            "in data.root first."
        ) from error


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Limit the time to wait for a server; torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _channels_first(data: Any) -> NDArray[np.uint8]:
    """Convert torchvision's [N, H, W] tensors and [N, H, W, C] arrays to [N, C, H, W]."""
    array = np.asarray(data, np.uint8)
    return array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
