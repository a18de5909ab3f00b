"""`evaluate`: everything that the stage measures, of one model on one data set."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from vaebalance.data import Dataset
from vaebalance.errors import UserError
from vaebalance.evaluation.bounds import bits_per_dim, elbo_parts, importance_weighted_nll
from vaebalance.evaluation.calibration import calibrated_sigma, with_likelihood
from vaebalance.evaluation.images import MeasuredImages, measured_images
from vaebalance.evaluation.latents import PosteriorMoments, active_units, posterior_moments
from vaebalance.evaluation.reconstructions import reconstruction_quality, ssim_window
from vaebalance.evaluation.results import (
    Codes,
    Evaluation,
    LatentMetrics,
    LatentTable,
    MeasurementSettings,
    SplitMetrics,
    refuse_non_finite,
)
from vaebalance.evaluation.spec import EvaluateSpec
from vaebalance.likelihoods import Gaussian
from vaebalance.model import VAE

DISTORTION_SAMPLES = 16
"""Draws of q(z|x) for an image's distortion: their noise is small beside the images' spread."""
LARGEST_CODES = 20_000
"""Test images, at most, whose codes are kept for the report."""


def evaluate(model: VAE, dataset: Dataset, spec: EvaluateSpec, seed: int) -> Evaluation:
    """Measure `model` on the test split, on the device where the model is.

    Torch's random state is left as it was.

    Args:
        model: in evaluation mode, as `load_model` gives it.
        dataset: what it was trained on; the validation split is read for calibration only.
        spec: the `evaluate` section.
        seed: of all noise.

    Raises:
        UserError: model and data do not fit, a split is empty, or a number is not finite.
    """
    _refuse_misfit(model, dataset)
    images = measured_images(dataset, "test", seed)
    moments = posterior_moments(model, images, batch_size=spec.batch_size)
    active = active_units(moments, spec.active_threshold)
    test, rate_by_latent = _measure(model, dataset, images, spec, seed)
    return refuse_non_finite(
        Evaluation(
            test=test,
            latents=LatentMetrics(int(active.sum()), model.latent_size),
            settings=MeasurementSettings(
                images=len(images),
                nll_samples=spec.nll_samples,
                distortion_samples=DISTORTION_SAMPLES,
                active_threshold=spec.active_threshold,
                ssim_window=ssim_window(images.stored.shape),
            ),
            latent_table=LatentTable(
                rate=rate_by_latent.numpy() if model.is_variational else None,
                variance_of_mean=moments.variance_of_mean.numpy(),
                active=active.numpy(),
            ),
            codes=_codes(moments, dataset.labels("test")),
        )
    )


def _measure(
    model: VAE, dataset: Dataset, images: MeasuredImages, spec: EvaluateSpec, seed: int
) -> tuple[SplitMetrics, Tensor]:
    """The split's numbers, and its rate by latent [Z].

    Without a posterior (the plain autoencoder) D alone is left of the bounds: −log p(x|code).
    """
    cost = {"batch_size": spec.batch_size, "seed": seed}
    sigma, scored = None, model
    if not model.likelihood.is_density:
        validation = measured_images(dataset, "validation", seed)
        sigma = calibrated_sigma(model, validation, **cost)
        scored = with_likelihood(model, Gaussian(sigma=sigma))
    parts = elbo_parts(scored, images, samples=DISTORTION_SAMPLES, **cost)
    quality = reconstruction_quality(model, images, batch_size=spec.batch_size)
    bounds: dict[str, float | None] = {}
    if model.is_variational:
        nll = importance_weighted_nll(scored, images, samples=spec.nll_samples, **cost)
        bounds = {
            "rate": parts.rate,
            "negative_elbo": parts.negative_elbo,
            "importance_weighted_nll": nll.mean,
            "importance_weighted_nll_standard_error": nll.standard_error,
            "effective_sample_size": float(nll.effective_sample_size.mean()),
            "bits_per_dim": bits_per_dim(
                nll.mean,
                model.likelihood,
                binarised=dataset.info.binarisation != "none",
                dimensions=math.prod(model.image_shape),
            ),
        }
    metrics = SplitMetrics(
        distortion=parts.distortion,
        calibrated_sigma=sigma,
        rmse=quality.rmse,
        psnr=quality.psnr,
        ssim=quality.ssim,
        **bounds,
    )
    return metrics, parts.rate_by_latent


def _codes(moments: PosteriorMoments, labels: Tensor | None) -> Codes:
    """The codes of test images evenly spread over the split, which may be sorted by label."""
    count = len(moments.mean)
    kept = min(count, LARGEST_CODES)
    index = torch.arange(kept) * count // kept
    label = torch.full((count,), -1) if labels is None else labels
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
