"""What can be had of distortion and rate: the Pareto set, its hypervolume, its knee.

Points are (D, R), nats per image, and less is better of both.
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
STEPS, STEP_SIZE = 300, 0.1  # of Adam, on logits and the like
LEAST_FOR_KNEE = 3
KNEE_RULE = (
    "the point of the Pareto set farthest below the chord between its two ends, D and R each "
    "scaled to the set's own span"
)


def pareto(points: Sequence[Terms]) -> list[int]:
    """Indices of the points that no other is at least as good as in both; by rising rate.

    Of equal points the first.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0], i))
    found: list[int] = []
    for index in order:
        if not found or points[index][0] < points[found[-1]][0]:
            found.append(index)
    return found


def hypervolume(points: Sequence[Terms], reference: Terms) -> float:
    """Area that the points dominate below the reference point, nats²; more is better."""
    inside = [p for p in points if p[0] < reference[0] and p[1] < reference[1]]
    area, ceiling = 0.0, reference[0]
    for index in pareto(inside):
        distortion, rate = inside[index]
        area += (ceiling - distortion) * (reference[1] - rate)
        ceiling = distortion
    return area


def knee(points: Sequence[Terms]) -> int | None:
    """Index by `KNEE_RULE`; None where the set has fewer than three points, or no bend.

    It moves with the range that was searched, so a range belongs to it.
    """
    front = pareto(points)
    if len(front) < LEAST_FOR_KNEE:
        return None
    (first_d, first_r), (last_d, last_r) = points[front[0]], points[front[-1]]
    gains = {
        index: 1
        - (points[index][0] - last_d) / (first_d - last_d)  # of distortion, 0 to 1
        - (points[index][1] - first_r) / (last_r - first_r)  # at this share of the rate
        for index in front
    }
    best = max(front, key=lambda index: gains[index])
    return best if gains[best] > 0 else None


def distortion_at_rate_zero(likelihood: AbstractLikelihood, dataset: Dataset, seed: int) -> float:
    """The D of a decoder that has no code: the same p(x) for every image.

    Fitted to training images by gradient steps on the decoder's output, measured on validation
    images; nats per image.
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
        found = likelihood.distribution(raw.expand(len(x), -1, -1, -1), parameters).log_prob(x)
    return float(-found.double().mean())
