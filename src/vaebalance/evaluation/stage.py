"""`evaluate`: all measurements of one model on one data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.inception import require_weights
from vaebalance.evaluation.measured_images import spread
from vaebalance.evaluation.posterior_moments import PosteriorMoments, active_units
from vaebalance.evaluation.results import (
    Codes,
    Evaluation,
    LatentTable,
    MeasurementSettings,
    refuse_non_finite,
)
from vaebalance.evaluation.sections.context import EvaluationContext
from vaebalance.evaluation.sections.known_factors import measure_disentanglement
from vaebalance.evaluation.sections.latent_space import measure_latents
from vaebalance.evaluation.sections.prior_samples import measure_samples
from vaebalance.evaluation.sections.split import measure_split
from vaebalance.vae.model import VAE

LARGEST_CODES = 20_000
"""Largest number of test images whose codes are kept for the report."""


def evaluate(model: VAE, dataset: Dataset, spec: EvaluateSpec, seed: int) -> Evaluation:
    """Measure `model` on the test split, on the model's device.

    Torch's random state is left unchanged.

    Args:
        model: in evaluation mode, as `load_model` returns it.
        dataset: its training data. The density, the probe and the features are fitted to the
            training split, σ to the validation split.
        spec: the `evaluate` section.
        seed: seed of all noise.

    Raises:
        UserError: model and data do not fit, a split is empty, or a number is not finite.
    """
    _refuse_misfit(model, dataset)
    if spec.inception_weights is not None:
        require_weights(Path(spec.inception_weights))
    context = EvaluationContext(model, dataset, spec, seed)
    images = context.images("test")
    with context.clock.part("posterior moments"):
        moments = context.moments(images)
        training = context.moments(context.images("train").spread(spec.latent_samples))
    test, rate_by_latent, split_settings = measure_split(context, images)
    latents, latent_settings = measure_latents(context, moments, training)
    samples, sample_settings = measure_samples(context, images)
    disentanglement, factor_table, factor_settings = measure_disentanglement(context)
    return refuse_non_finite(
        Evaluation(
            test=test,
            latents=latents,
            samples=samples,
            disentanglement=disentanglement,
            settings=MeasurementSettings(
                images=len(images),
                **split_settings,
                **latent_settings,
                **sample_settings,
                **factor_settings,
            ),
            latent_table=LatentTable(
                rate=rate_by_latent.numpy() if model.is_variational else None,
                aggregate_mean=moments.aggregate_mean.numpy(),
                aggregate_variance=moments.aggregate_covariance.diag().numpy(),
                variance_of_mean=moments.variance_of_mean.numpy(),
                active=active_units(moments, spec.active_threshold).numpy(),
            ),
            factor_table=factor_table,
            codes=_codes(moments, dataset.labels("test")),
            seconds=context.clock.seconds,
        )
    )


def _codes(moments: PosteriorMoments, labels: Tensor | None) -> Codes:
    """Collect codes of test images, evenly spread over the split, which may be sorted by label."""
    index = spread(len(moments), LARGEST_CODES)
    label = torch.full((len(moments),), -1) if labels is None else labels
    return Codes(
        index=index.numpy(),
        mean=moments.mean[index].numpy(),
        std=moments.std[index].numpy(),
        label=label[index].numpy().astype(np.int64),
    )


def _refuse_misfit(model: VAE, dataset: Dataset) -> None:
    if tuple(model.image_shape) != tuple(dataset.info.image_shape):
        raise UserError(
            f"the model is made for images of {model.image_shape} (channels, height, width), and "
            f"{dataset.folder} has {dataset.info.image_shape}; run `dvc repro train` first."
        )
    misfit = model.likelihood.misfit(dataset.info.binarisation)
    if misfit:
        raise UserError(f"{misfit}. Train again after the change.")
