"""The attainable trade-offs of distortion and rate: Pareto set, hypervolume, knee.

Points are (D, R) in nats per image; lower is better for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vaebalance.base.adam import Adam
from vaebalance.data import Dataset
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.vae.likelihoods import AbstractLikelihood

Terms = tuple[float, float]

FITTED_IMAGES = 1000
STEPS, STEP_SIZE = 300, 0.1  # of Adam, on raw decoder output
LEAST_FOR_KNEE = 3
KNEE_RULE = (
    "the point of the Pareto set farthest below the chord between its two ends, D and R each "
    "scaled to the set's own span"
)


def pareto(points: Sequence[Terms]) -> list[int]:
    """Return the indices of the Pareto set by rising rate; of equal points the first.

    A point is in the set if no other is at least as good in both numbers.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0], i))
    front: list[int] = []
    for index in order:
        if not front or points[index][0] < points[front[-1]][0]:
            front.append(index)
    return front


def hypervolume(points: Sequence[Terms], reference: Terms) -> float:
    """Compute the area that the points dominate below the reference, nats²; more is better."""
    inside = [p for p in points if p[0] < reference[0] and p[1] < reference[1]]
    area, ceiling = 0.0, reference[0]
    for index in pareto(inside):
        distortion, rate = inside[index]
        area += (ceiling - distortion) * (reference[1] - rate)
        ceiling = distortion
    return area


def knee(points: Sequence[Terms]) -> int | None:
    """Return the index by `KNEE_RULE`; None if the set has fewer than three points, or no bend.

    The knee depends on the range that was searched, so it is meaningful only with that range.
    """
    front = pareto(points)
    if len(front) < LEAST_FOR_KNEE:
        return None
    (first_d, first_r), (last_d, last_r) = points[front[0]], points[front[-1]]
    gains = {
        index: 1
        - (points[index][0] - last_d) / (first_d - last_d)  # share of the distortion gained, 0 to 1
        - (points[index][1] - first_r) / (last_r - first_r)  # at this share of the rate
        for index in front
    }
    best = max(front, key=lambda index: gains[index])
    return best if gains[best] > 0 else None


def distortion_at_rate_zero(likelihood: AbstractLikelihood, dataset: Dataset, seed: int) -> float:
    """Estimate the D of a decoder without a code: the same p(x) for every image; nats per image.

    It is fitted to training images by gradient steps on the decoder's output, and measured on
    validation images.
    """
    training = measured_images(dataset, "train", seed).spread(FITTED_IMAGES)
    validation = measured_images(dataset, "validation", seed)
    device = torch.device("cpu")
    channels, height, width = dataset.info.image_shape
    raw = torch.zeros(1, likelihood.raw_channels(channels), height, width, requires_grad=True)
    parameters = likelihood.make_parameters()
    x = training.pixels(slice(None), device)
    optimizer = Adam([raw, *parameters.parameters()], lr=STEP_SIZE)
    parameters.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss: torch.Tensor = (
            -likelihood.distribution(raw.expand(len(x), -1, -1, -1), parameters).log_prob(x).mean()
        )
        loss.backward()
        optimizer.step()
    parameters.eval()
    with torch.no_grad():
        x = validation.pixels(slice(None), device)
        log_p = likelihood.distribution(raw.expand(len(x), -1, -1, -1), parameters).log_prob(x)
    return float(-log_p.double().mean())
