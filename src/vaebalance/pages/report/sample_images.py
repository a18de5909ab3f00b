"""Which test images are shown, and what they are called. A position is one in the codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaebalance.evaluation.measured_images import measured_images
from vaebalance.pages.kit.words import shortened
from vaebalance.pages.report.inputs import Inputs

NAME_LENGTH = 60  # characters of a label's name in running text


def pixels(inputs: Inputs, chosen: Sequence[int], seed: int) -> Tensor:
    """The pixels of some of the coded test images, as evaluation saw them: [B, C, H, W]."""
    images = measured_images(inputs.dataset, "test", seed)
    places = [int(inputs.codes.index[position]) for position in chosen]
    device = torch.device("cpu")
    return torch.cat([images.pixels(slice(place, place + 1), device) for place in places])


def label_name(inputs: Inputs, position: int) -> str | None:
    """The label of one of the coded test images, cut where it is long; None where it has none."""
    label = int(inputs.codes.label[position])
    if not 0 <= label < len(inputs.label_names):
        return None
    return shortened(inputs.label_names[label], NAME_LENGTH)


def image_name(inputs: Inputs, position: int) -> str:
    """What one of the coded test images is called."""
    label = label_name(inputs, position)
    image = f"test image {int(inputs.codes.index[position])}"
    return image if label is None else f"{label}, {image}"


def evenly(total: int, most: int) -> list[int]:
    """At most `most` positions, evenly spread."""
    count = min(total, most)
    return [position * total // count for position in range(count)]


def most_typical(codes: Tensor) -> int:
    """The index of the code [M, Z] nearest to the codes' mean."""
    return int((codes - codes.mean(0)).square().sum(1).argmin())


def examples(labels: Sequence[int], count: int) -> list[int]:
    """Up to `count` positions: evenly spread, or taking turns among the labels where there are any.

    The first of each label, then the second of each, and so on; images without a label last.
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
