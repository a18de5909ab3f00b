"""The test images to show, and their names. Positions are indices into the codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaebalance.evaluation.measured_images import measured_images
from vaebalance.pages.kit.words import shortened
from vaebalance.pages.report.inputs import Inputs

NAME_LENGTH = 60  # characters of a label's name in running text


def pixels(inputs: Inputs, chosen: Sequence[int], seed: int) -> Tensor:
    """Return the pixels of the chosen test images [B, C, H, W], as the evaluation saw them."""
    images = measured_images(inputs.dataset, "test", seed)
    places = [int(inputs.codes.index[position]) for position in chosen]
    device = torch.device("cpu")
    return torch.cat([images.pixels(slice(place, place + 1), device) for place in places])


def label_name(inputs: Inputs, position: int) -> str | None:
    """Return the label of a coded test image, shortened if it is long; None if it has none."""
    label = int(inputs.codes.label[position])
    if not 0 <= label < len(inputs.label_names):
        return None
    return shortened(inputs.label_names[label], NAME_LENGTH)


def image_name(inputs: Inputs, position: int) -> str:
    """Name a coded test image by its label and its index in the test split."""
    label = label_name(inputs, position)
    image = f"test image {int(inputs.codes.index[position])}"
    return image if label is None else f"{label}, {image}"


def evenly(total: int, most: int) -> list[int]:
    """Return at most `most` evenly spread positions."""
    count = min(total, most)
    return [position * total // count for position in range(count)]


def most_typical(codes: Tensor) -> int:
    """Return the index of the code [M, Z] nearest to the mean code."""
    return int((codes - codes.mean(0)).square().sum(1).argmin())


def examples(labels: Sequence[int], count: int) -> list[int]:
    """Choose up to `count` positions: in turn from each label, or evenly spread without labels.

    The first image of each label comes first, then the second of each, and so on; images without
    a label come last.
    """
    if max(labels, default=-1) < 0:
        return evenly(len(labels), count)
    turns: dict[int, int] = {}
    places = []
    for position, label in enumerate(labels):
        turn = turns.get(label, 0)
        turns[label] = turn + 1
        places.append((label < 0, turn, label, position))
    return [position for *_, position in sorted(places)[:count]]
