"""Section `samples`: decoded prior samples against test images, in feature spaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebalance.evaluation.features import LARGEST_TRAINING, FeatureSpace, own_features
from vaebalance.evaluation.inception import inception_features
from vaebalance.evaluation.measured_images import MeasuredImages, spread
from vaebalance.evaluation.results import SampleMetrics
from vaebalance.evaluation.samples import are_draws, decoded_prior_samples, sample_quality
from vaebalance.evaluation.sections.subject import Subject

OWN, INCEPTION = "own", "inception"
BLOCK = 256
"""Images whose features are computed at once."""


def measure_samples(
    subject: Subject, test: MeasuredImages
) -> tuple[dict[str, SampleMetrics] | None, dict[str, Any]]:
    """The numbers in each feature space, and how they came about; None where switched off.

    Half of the training images at most are the floor; the feature network learns from the others,
    so that it knows neither side of any comparison.
    """
    model, spec = subject.model, subject.spec
    training = subject.images("train")
    count = min(spec.sample_images, len(test), len(training) // 2)
    if count < 2:
        return None, {}
    draws, why = are_draws(model.likelihood, binarised=subject.is_binarised)
    held_out = spread(len(training), count)
    images = {"test": test.spread(count), "floor": training.at(held_out)}
    found: dict[str, SampleMetrics] = {}
    names: dict[str, str] = {}
    for key, space in _spaces(subject, training, held_out):
        with subject.clock.part(f"samples, {key} features"):
            samples = decoded_prior_samples(
                model, count, draws=draws, batch_size=spec.batch_size, seed=subject.seed
            )
            points = {
                name: space.points(some.blocks(BLOCK, space.device, f"{key} features"))
                for name, some in images.items()
            }
            quality = sample_quality(points["test"], space.points(samples))
            floor = sample_quality(points["test"], points["floor"])
        floors = {f"{name}_floor": value for name, value in asdict(floor).items()}
        found[key], names[key] = SampleMetrics(**asdict(quality), **floors), space.name
    return found, {"sample_images": count, "prior_samples": why, "feature_spaces": names}


def _spaces(
    subject: Subject, training: MeasuredImages, held_out: Tensor
) -> Iterator[tuple[str, FeatureSpace]]:
    """Our own space, and Inception's where its weights are on disk."""
    others = torch.ones(len(training), dtype=torch.bool)
    others[held_out] = False
    index = others.nonzero()[:, 0]
    index = index[spread(len(index), LARGEST_TRAINING)]
    labels = subject.dataset.labels("train")
    with subject.clock.part("feature network"):
        own = own_features(
            training.at(index), None if labels is None else labels[index], subject.seed
        )
    yield OWN, own
    if subject.spec.inception_weights is not None:
        device = subject.model.prior.mean.device
        yield INCEPTION, inception_features(Path(subject.spec.inception_weights), device)
