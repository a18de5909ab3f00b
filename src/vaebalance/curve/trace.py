"""Measure a curve at several β; each β costs an evaluation, not a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from vaebalance.base.errors import UserError
from vaebalance.curve.curves import AbstractCurve
from vaebalance.data import Dataset
from vaebalance.evaluation.bounds import (
    Score,
    distortion_draws,
    elbo_parts,
    importance_weighted_nlls,
    own_score,
)
from vaebalance.evaluation.calibration import calibrate
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.measured_images import encoded
from vaebalance.evaluation.posterior_moments import active_units
from vaebalance.evaluation.reconstructions import reconstruction_quality
from vaebalance.evaluation.sections.context import EvaluationContext
from vaebalance.evaluation.sections.prior_samples import OWN, measure_samples
from vaebalance.vae.model import VAE

VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """Numbers of one β on one split, in nats per image unless stated otherwise."""

    split: str
    beta: float  # at α = 1
    distortion: float  # of the training's likelihood, whether or not it is a density
    rate: float
    negative_elbo: float
    weighted_loss: float  # D + β·R
    nll: float | None  # importance-weighted; None: the likelihood is no density
    nll_standard_error: float | None
    calibrated_nll: float  # under a Gaussian calibrated on validation images
    calibrated_nll_standard_error: float | None
    active_units: int
    rmse: float  # in pixel values
    psnr: float  # dB
    sample_frechet: float | None  # prior samples, in features of the data set; None: switched off
    sample_precision: float | None
    sample_recall: float | None

    def numbers(self) -> dict[str, float]:
        """Return the numbers that apply, by name."""
        named = {name: value for name, value in asdict(self).items() if name != "split"}
        return {name: float(value) for name, value in named.items() if value is not None}


def trace(
    curve: AbstractCurve,
    betas: Sequence[float],
    dataset: Dataset,
    split: str,
    evaluate: EvaluateSpec,
    seed: int,
) -> Iterator[CurveRow]:
    """Yield the rows of a split, one for each β, all with the same noise.

    Args:
        curve: the models.
        betas: the β to measure; those of the snapshots for a continuation.
        dataset: data that the curve was trained on; σ is calibrated on its validation split.
        split: name of the split to measure.
        evaluate: settings of the evaluation; `nll_samples` is the K of both nlls.
        seed: seed of all noise.

    Raises:
        UserError: the curve has no model at a β, the split is empty, or a number is not finite.
    """
    for beta in betas:
        row = measure(curve.model_at(beta), beta, dataset, split, evaluate, seed)
        bad = {name: value for name, value in row.numbers().items() if not math.isfinite(value)}
        if bad:
            listed = ", ".join(f"{name} = {value}" for name, value in bad.items())
            raise UserError(
                f"the curve at β = {beta:g}, {split} split: {listed}; must be finite. Train again "
                "with a lower train.learning_rate, or narrow curve.low and curve.high."
            )
        yield row


def measure(
    model: VAE, beta: float, dataset: Dataset, split: str, evaluate: EvaluateSpec, seed: int
) -> CurveRow:
    """Measure a plain VAE of a curve, or trained alone with `beta`, and return its row."""
    context = EvaluationContext(model, dataset, evaluate, seed)
    batch = evaluate.batch_size
    images = encoded(model, context.images(split), batch)
    draws = distortion_draws(len(images))
    parts = elbo_parts(model, images, samples=draws, batch_size=batch, seed=seed, score=own_score)
    validation = images if split == "validation" else context.images("validation")
    gaussian = calibrate(model, validation, batch_size=batch, seed=seed)
    scores: list[Score] = [own_score, gaussian] if model.likelihood.is_density else [gaussian]
    nlls = importance_weighted_nlls(
        model, images, scores, samples=evaluate.nll_samples, batch_size=batch, seed=seed
    )
    quality = reconstruction_quality(model, images, batch_size=batch, with_ssim=False)
    active = active_units(context.moments(images), evaluate.active_threshold)
    spaces, _ = measure_samples(context, images)
    samples = None if spaces is None else spaces[OWN]
    own = nlls[0] if model.likelihood.is_density else None
    return CurveRow(
        split=split,
        beta=beta,
        distortion=parts.distortion,
        rate=parts.rate,
        negative_elbo=parts.negative_elbo,
        weighted_loss=parts.distortion + beta * parts.rate,
        nll=None if own is None else own.mean,
        nll_standard_error=None if own is None else own.standard_error,
        calibrated_nll=nlls[-1].mean,
        calibrated_nll_standard_error=nlls[-1].standard_error,
        active_units=int(active.sum()),
        rmse=quality.rmse,
        psnr=quality.psnr,
        sample_frechet=None if samples is None else samples.frechet,
        sample_precision=None if samples is None else samples.precision,
        sample_recall=None if samples is None else samples.recall,
    )


def validation_rows(rows: Iterable[CurveRow]) -> list[CurveRow]:
    """Return the rows by which a β is chosen."""
    return [row for row in rows if row.split == VALIDATION]
