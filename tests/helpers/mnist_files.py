"""A tiny data set in the file format of MNIST, readable by torchvision."""

import struct
from pathlib import Path

import numpy as np


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist_like(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Write two training images and one test image of [28, 28]."""
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4], np.uint8)
    for part, chosen in (("train", slice(0, 2)), ("t10k", slice(2, 3))):
        write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", images[chosen])
        write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels[chosen])
    return images, labels
