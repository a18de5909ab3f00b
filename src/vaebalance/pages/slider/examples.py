"""The test images that are shown at every β."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaebalance.data import Dataset
from vaebalance.evaluation.measured_images import measured_images, spread
from vaebalance.pages.figures.picture_sheets import to_bytes
from vaebalance.pages.kit.words import shortened
from vaebalance.pages.report.sample_images import NAME_LENGTH, examples

RECONSTRUCTIONS = 10
PRIOR_SAMPLES = 20
CODES = 300  # test images in the latent plane


@dataclass(frozen=True, eq=False)
class ShownImages:
    """P test images that are reconstructed, and M whose codes are points of the latent plane."""

    positions: tuple[int, ...]
    """Positions in the test split, [P]."""
    originals: NDArray[np.uint8]  # [P, C, H, W], as the models see them
    names: tuple[str, ...]
    """Names of the labels, or of the position if there is none, [P]."""
    coded: tuple[int, ...]
    """Positions in the test split, [M]."""
    labels: NDArray[np.int64]  # [M], -1 for none
    label_names: tuple[str, ...]


def shown_images(dataset: Dataset, seed: int) -> ShownImages:
    """Choose `RECONSTRUCTIONS` images in turn from each label, and `CODES` evenly spread.

    Args:
        dataset: prepared data set.
        seed: seed of the run, from which dynamic binarisation is drawn.

    Raises:
        UserError: the test split is empty.
    """
    images = measured_images(dataset, "test", seed)
    stored = dataset.labels("test")
    labels = torch.full((len(images),), -1) if stored is None else stored
    names = dataset.info.label_names or ()
    chosen = examples(labels.tolist(), RECONSTRUCTIONS)
    coded = spread(len(images), CODES)
    pixels = images.at(torch.tensor(chosen)).pixels(slice(None), torch.device("cpu"))
    return ShownImages(
        tuple(chosen),
        to_bytes(pixels).numpy(),
        tuple(_name(position, int(labels[position]), names) for position in chosen),
        tuple(coded.tolist()),
        labels[coded].numpy().astype(np.int64),
        tuple(names),
    )


def _name(position: int, label: int, names: tuple[str, ...]) -> str:
    if 0 <= label < len(names):
        return shortened(names[label], NAME_LENGTH)
    return f"#{position}"
