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
from vaebalance.evaluation.sections.subject import Subject


def measure_split(
    subject: Subject, images: MeasuredImages
) -> tuple[SplitMetrics, Tensor, dict[str, Any]]:
    """The split's numbers, its rate by latent [Z], and how they came about.

    Without a posterior (the plain autoencoder) D alone is left of the bounds: −log p(x|code).
    """
    model, clock, spec = subject.model, subject.clock, subject.spec
    with clock.part("calibration"):
        score, gaussian = _scores(subject)
    draws = distortion_draws(len(images))
    with clock.part("distortion and rate"):
        parts = elbo_parts(
            model,
            images,
            samples=draws,
            batch_size=spec.batch_size,
            seed=subject.seed,
            score=score,
        )
    with clock.part("reconstructions"):
        quality = reconstruction_quality(model, images, batch_size=spec.batch_size)
    bounds: dict[str, Any] = {}
    if model.is_variational:
        with clock.part("importance-weighted nll"):
            bounds = _bounds(subject, images, score, gaussian)
        bounds |= {
            "rate": parts.rate,
            "negative_elbo": parts.negative_elbo,
            "negative_elbo_bits_per_dim": _bits_per_dim(subject, parts.negative_elbo),
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
        "nats_of": _nats_of(subject),
    }
    return metrics, parts.rate_by_latent, settings


def _scores(subject: Subject) -> tuple[Score, CalibratedGaussian | None]:
    """What the model's nats are of, and the Gaussian by which it compares with others.

    They are the same where the likelihood is no density. There is no Gaussian where there is
    nothing to compare: no bound (the plain autoencoder), or no validation image to fit σ to.
    """
    model, spec = subject.model, subject.spec
    is_density = model.likelihood.is_density
    comparable = model.is_variational and len(subject.dataset.images("validation")) > 0
    if is_density and not comparable:
        return own_score, None
    gaussian = calibrate(
        model, subject.images("validation"), batch_size=spec.batch_size, seed=subject.seed
    )
    return own_score if is_density else gaussian, gaussian


def _nats_of(subject: Subject) -> str:
    likelihood = subject.model.likelihood
    if not likelihood.is_density:
        return "the calibrated Gaussian"
    return f"the model's likelihood, {likelihood.model_dump()['kind']}"


def _bounds(
    subject: Subject, images: MeasuredImages, score: Score, gaussian: CalibratedGaussian | None
) -> dict[str, float | None]:
    """The model's nll and the calibrated one, from the same decoded codes."""
    spec = subject.spec
    scores = [score]
    if gaussian is not None and gaussian is not score:
        scores.append(gaussian)
    nlls = importance_weighted_nlls(
        subject.model,
        images,
        scores,
        samples=spec.nll_samples,
        batch_size=spec.batch_size,
        seed=subject.seed,
    )
    own = nlls[0]
    bounds = {
        "importance_weighted_nll": own.mean,
        "importance_weighted_nll_standard_error": own.standard_error,
        "effective_sample_size": float(own.effective_sample_size.mean()),
        "bits_per_dim": _bits_per_dim(subject, own.mean),
    }
    if gaussian is not None:
        calibrated = nlls[-1]
        bounds |= {
            "calibrated_nll": calibrated.mean,
            "calibrated_nll_standard_error": calibrated.standard_error,
            "calibrated_effective_sample_size": float(calibrated.effective_sample_size.mean()),
        }
    return bounds


def _bits_per_dim(subject: Subject, nats: float) -> float | None:
    return bits_per_dim(
        nats,
        subject.model.likelihood,
        binarised=subject.is_binarised,
        dimensions=math.prod(subject.model.image_shape),
    )
