"""Section `test`: bounds on log p(x), and reconstructions."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from torch import Tensor

from vaebalance.evaluation.bounds import (
    Score,
    bits_per_dim,
    distortion_draws,
    elbo_parts,
    importance_weighted_nlls,
    own_score,
)
from vaebalance.evaluation.calibration import CalibratedGaussian, calibrate
from vaebalance.evaluation.measured_images import MeasuredImages
from vaebalance.evaluation.reconstructions import reconstruction_quality, ssim_window
from vaebalance.evaluation.results import SplitMetrics
from vaebalance.evaluation.sections.context import EvaluationContext


def measure_split(
    context: EvaluationContext, images: MeasuredImages
) -> tuple[SplitMetrics, Tensor, dict[str, Any]]:
    """Measure the split; return the numbers, the rate by latent [Z] and the settings.

    Without a posterior (a plain autoencoder) the only bound is D: −log p(x|code).
    """
    model, clock, spec = context.model, context.clock, context.spec
    with clock.part("calibration"):
        score, gaussian = _scores(context)
    draws = distortion_draws(len(images))
    with clock.part("distortion and rate"):
        parts = elbo_parts(
            model,
            images,
            samples=draws,
            batch_size=spec.batch_size,
            seed=context.seed,
            score=score,
        )
    with clock.part("reconstructions"):
        quality = reconstruction_quality(model, images, batch_size=spec.batch_size)
    bounds: dict[str, Any] = {}
    if model.is_variational:
        with clock.part("importance-weighted nll"):
            bounds = _bounds(context, images, score, gaussian)
        bounds |= {
            "rate": parts.rate,
            "negative_elbo": parts.negative_elbo,
            "negative_elbo_bits_per_dim": _bits_per_dim(context, parts.negative_elbo),
        }
    metrics = SplitMetrics(
        distortion=parts.distortion,
        calibrated_sigma=gaussian.sigma if gaussian is not None else None,
        **asdict(quality),
        **bounds,
    )
    settings = {
        "nll_samples": spec.nll_samples,
        "distortion_samples": draws,
        "ssim_window": ssim_window(images.stored.shape),
        "nats_of": _nats_of(context),
    }
    return metrics, parts.rate_by_latent, settings


def _scores(context: EvaluationContext) -> tuple[Score, CalibratedGaussian | None]:
    """Return the score of the model's nats, and the Gaussian that compares it with other models.

    They are the same if the likelihood is not a density. There is no Gaussian if there is nothing
    to compare: no bound (a plain autoencoder), or no validation image to fit σ to.
    """
    model, spec = context.model, context.spec
    is_density = model.likelihood.is_density
    comparable = model.is_variational and len(context.dataset.images("validation")) > 0
    if is_density and not comparable:
        return own_score, None
    gaussian = calibrate(
        model, context.images("validation"), batch_size=spec.batch_size, seed=context.seed
    )
    return own_score if is_density else gaussian, gaussian


def _nats_of(context: EvaluationContext) -> str:
    likelihood = context.model.likelihood
    if not likelihood.is_density:
        return "the calibrated Gaussian"
    return f"the model's likelihood, {likelihood.model_dump()['kind']}"


def _bounds(
    context: EvaluationContext,
    images: MeasuredImages,
    score: Score,
    gaussian: CalibratedGaussian | None,
) -> dict[str, float | None]:
    """Estimate the model's nll and the calibrated one from the same decoded codes."""
    spec = context.spec
    scores = [score]
    if gaussian is not None and gaussian is not score:
        scores.append(gaussian)
    nlls = importance_weighted_nlls(
        context.model,
        images,
        scores,
        samples=spec.nll_samples,
        batch_size=spec.batch_size,
        seed=context.seed,
    )
    nll = nlls[0]
    bounds = {
        "importance_weighted_nll": nll.mean,
        "importance_weighted_nll_standard_error": nll.standard_error,
        "effective_sample_size": float(nll.effective_sample_size.mean()),
        "bits_per_dim": _bits_per_dim(context, nll.mean),
    }
    if gaussian is not None:
        calibrated = nlls[-1]
        bounds |= {
            "calibrated_nll": calibrated.mean,
            "calibrated_nll_standard_error": calibrated.standard_error,
            "calibrated_effective_sample_size": float(calibrated.effective_sample_size.mean()),
        }
    return bounds


def _bits_per_dim(context: EvaluationContext, nats: float) -> float | None:
    return bits_per_dim(
        nats,
        context.model.likelihood,
        binarised=context.is_binarised,
        dimensions=math.prod(context.model.image_shape),
    )
