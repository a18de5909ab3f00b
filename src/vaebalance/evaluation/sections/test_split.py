"""Section `test`: bounds on log p(x), and reconstructions."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from torch import Tensor

from vaebalance.evaluation.bounds import (
    bits_per_dim,
    elbo_parts,
    importance_weighted_nlls,
    own_score,
)
from vaebalance.evaluation.calibration import CalibratedGaussian, calibrate
from vaebalance.evaluation.images import MeasuredImages
from vaebalance.evaluation.reconstructions import reconstruction_quality, ssim_window
from vaebalance.evaluation.results import SplitMetrics
from vaebalance.evaluation.sections.subject import Subject

DISTORTION_SAMPLES = 16
"""Draws of q(z|x) for an image's distortion: their noise is small beside the images' spread."""


def measure_split(
    subject: Subject, images: MeasuredImages
) -> tuple[SplitMetrics, Tensor, dict[str, Any]]:
    """The split's numbers, its rate by latent [Z], and how they came about.

    Without a posterior (the plain autoencoder) D alone is left of the bounds: −log p(x|code).
    """
    model, clock = subject.model, subject.clock
    cost = {"batch_size": subject.spec.batch_size, "seed": subject.seed}
    is_density = model.likelihood.is_density
    gaussian = None
    with clock.part("calibration"):
        if not is_density or (model.is_variational and _has_validation(subject)):
            gaussian = calibrate(model, subject.images("validation"), **cost)
    score = own_score if is_density or gaussian is None else gaussian
    with clock.part("distortion and rate"):
        parts = elbo_parts(model, images, samples=DISTORTION_SAMPLES, score=score, **cost)
    with clock.part("reconstructions"):
        quality = reconstruction_quality(model, images, batch_size=subject.spec.batch_size)
    bounds: dict[str, Any] = {}
    if model.is_variational:
        bounds = _bounds(subject, images, gaussian)
        bounds |= {"rate": parts.rate, "negative_elbo": parts.negative_elbo}
        bounds["negative_elbo_bits_per_dim"] = _bits_per_dim(subject, parts.negative_elbo)
    metrics = SplitMetrics(
        distortion=parts.distortion,
        calibrated_sigma=gaussian.sigma if gaussian is not None else None,
        **asdict(quality),
        **bounds,
    )
    kind = model.likelihood.model_dump()["kind"]
    return (
        metrics,
        parts.rate_by_latent,
        {
            "nll_samples": subject.spec.nll_samples,
            "distortion_samples": DISTORTION_SAMPLES,
            "ssim_window": ssim_window(images.stored.shape),
            "nats_of": f"the model's likelihood, {kind}"
            if is_density
            else "the calibrated Gaussian",
        },
    )


def _has_validation(subject: Subject) -> bool:
    return len(subject.dataset.images("validation")) > 0


def _bounds(
    subject: Subject, images: MeasuredImages, gaussian: CalibratedGaussian | None
) -> dict[str, float | None]:
    """The model's own nll and the calibrated one, from the same decoded codes.

    Where the likelihood is no density there is one nll, under both names.
    """
    model, spec = subject.model, subject.spec
    scores = [score for score in (own_score, gaussian) if score is not None]
    if not model.likelihood.is_density:
        scores = scores[1:]
    with subject.clock.part("importance-weighted nll"):
        found = importance_weighted_nlls(
            model,
            images,
            scores,
            samples=spec.nll_samples,
            batch_size=spec.batch_size,
            seed=subject.seed,
        )
    own, calibrated = found[0], found[-1]
    bounds = {
        "importance_weighted_nll": own.mean,
        "importance_weighted_nll_standard_error": own.standard_error,
        "effective_sample_size": float(own.effective_sample_size.mean()),
        "bits_per_dim": _bits_per_dim(subject, own.mean),
    }
    if gaussian is not None:
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
