"""What is shown at every β: the same test images, the same codes of the prior."""

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
class Shown:
    """Test images: P that are reconstructed, M whose codes are points of the latent plane."""

    positions: tuple[int, ...]
    """[P] in the test split."""
    originals: NDArray[np.uint8]  # [P, C, H, W], as the models see them
    names: tuple[str, ...]
    """[P] of the labels; the position's where there is none."""
    coded: tuple[int, ...]
    """[M] positions in the test split."""
    labels: NDArray[np.int64]  # [M], -1 where there is none
    label_names: tuple[str, ...]


def shown_images(dataset: Dataset, seed: int) -> Shown:
    """Up to `RECONSTRUCTIONS` images, taking turns among the labels, and `CODES` evenly spread.

    Args:
        dataset: prepared.
        seed: of the run, by which dynamic binarisation is drawn.

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
    return Shown(
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
