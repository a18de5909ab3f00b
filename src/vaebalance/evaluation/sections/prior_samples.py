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
from vaebalance.evaluation.sections.context import EvaluationContext

OWN, INCEPTION = "own", "inception"
BLOCK = 256
"""Images whose features are computed at once."""


def measure_samples(
    context: EvaluationContext, test: MeasuredImages
) -> tuple[dict[str, SampleMetrics] | None, dict[str, Any]]:
    """Measure samples in each feature space; return numbers (None if switched off) and settings.

    The floor takes at most half of the training images. The feature network learns from the others,
    so that it has seen neither side of any comparison.
    """
    model, spec = context.model, context.spec
    training = context.images("train")
    count = min(spec.sample_images, len(test), len(training) // 2)
    if count < 2:
        return None, {}
    draws, why = are_draws(model.likelihood, binarised=context.is_binarised)
    held_out = spread(len(training), count)
    images = {"test": test.spread(count), "floor": training.at(held_out)}
    metrics: dict[str, SampleMetrics] = {}
    names: dict[str, str] = {}
    for key, space in _spaces(context, training, held_out):
        with context.clock.part(f"samples, {key} features"):
            samples = decoded_prior_samples(
                model, count, draws=draws, batch_size=spec.batch_size, seed=context.seed
            )
            points = {
                name: space.points(subset.blocks(BLOCK, space.device, f"{key} features"))
                for name, subset in images.items()
            }
            quality = sample_quality(points["test"], space.points(samples))
            floor = sample_quality(points["test"], points["floor"])
        floors = {f"{name}_floor": value for name, value in asdict(floor).items()}
        metrics[key], names[key] = SampleMetrics(**asdict(quality), **floors), space.name
    return metrics, {"sample_images": count, "prior_samples": why, "feature_spaces": names}


def _spaces(
    context: EvaluationContext, training: MeasuredImages, held_out: Tensor
) -> Iterator[tuple[str, FeatureSpace]]:
    """Iterate over the learned space, and Inception's if its weights are on disk."""
    others = torch.ones(len(training), dtype=torch.bool)
    others[held_out] = False
    index = others.nonzero()[:, 0]
    index = index[spread(len(index), LARGEST_TRAINING)]
    labels = context.dataset.labels("train")
    with context.clock.part("feature network"):
        learned = own_features(
            training.at(index), None if labels is None else labels[index], context.seed
        )
    yield OWN, learned
    if context.spec.inception_weights is not None:
        device = context.model.prior.mean.device
        yield INCEPTION, inception_features(Path(context.spec.inception_weights), device)
