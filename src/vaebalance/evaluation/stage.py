"""`evaluate`: everything that the stage measures, of one model on one data set."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebalance.data import Dataset
from vaebalance.errors import UserError
from vaebalance.evaluation.bounds import (
    bits_per_dim,
    elbo_parts,
    importance_weighted_nlls,
    own_score,
)
from vaebalance.evaluation.calibration import CalibratedGaussian, calibrate
from vaebalance.evaluation.clock import Clock
from vaebalance.evaluation.images import MeasuredImages, measured_images, spread
from vaebalance.evaluation.latents import PosteriorMoments, active_units, posterior_moments
from vaebalance.evaluation.neighbours import NEIGHBOURS
from vaebalance.evaluation.prior_match import (
    aggregate_moments,
    aggregate_moments_null,
    energies,
    gaps,
    prior_draws,
)
from vaebalance.evaluation.probe import linear_probe
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
from vaebalance.evaluation.surgery import held_out_marginal_kl, surgery
from vaebalance.evaluation.two_sample import two_sample_accuracy
from vaebalance.model import VAE
from vaebalance.randomness import derive_seed

DISTORTION_SAMPLES = 16
"""Draws of q(z|x) for an image's distortion: their noise is small beside the images' spread."""
LARGEST_CODES = 20_000
"""Test images, at most, whose codes are kept for the report."""


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    model: VAE
    dataset: Dataset
    spec: EvaluateSpec
    seed: int
    clock: Clock

    def images(self, split: str) -> MeasuredImages:
        """All of a split."""
        return measured_images(self.dataset, split, self.seed)

    def moments(self, images: MeasuredImages) -> PosteriorMoments:
        """Of the posteriors of these images.

        Raises:
            UserError: they are no numbers.
        """
        moments = posterior_moments(self.model, images, batch_size=self.spec.batch_size)
        if not (moments.mean.isfinite().all() and moments.std.isfinite().all()):
            raise UserError(
                "the encoder's outputs are not finite. Train again with a lower "
                "train.learning_rate, or with weights in balance nearer to each other."
            )
        return moments


def evaluate(model: VAE, dataset: Dataset, spec: EvaluateSpec, seed: int) -> Evaluation:
    """Measure `model` on the test split, on the device where the model is.

    Torch's random state is left as it was.

    Args:
        model: in evaluation mode, as `load_model` gives it.
        dataset: what it was trained on. The training split is read to learn the density, the probe
            and the features from, the validation split to calibrate σ on.
        spec: the `evaluate` section.
        seed: of all noise.

    Raises:
        UserError: model and data do not fit, a split is empty, or a number is not finite.
    """
    _refuse_misfit(model, dataset)
    clock = Clock()
    subject = Subject(model, dataset, spec, seed, clock)
    images = subject.images("test")
    with clock.part("posterior moments"):
        moments = subject.moments(images)
        training = subject.moments(subject.images("train").spread(spec.latent_samples))
    test, rate_by_latent, nats_of = _test(subject, images)
    latents, latent_settings = _latents(subject, moments, training)
    active = active_units(moments, spec.active_threshold)
    return refuse_non_finite(
        Evaluation(
            test=test,
            latents=latents,
            samples=None,
            disentanglement=None,
            settings=MeasurementSettings(
                images=len(images),
                nll_samples=spec.nll_samples,
                distortion_samples=DISTORTION_SAMPLES,
                active_threshold=spec.active_threshold,
                ssim_window=ssim_window(images.stored.shape),
                nats_of=nats_of,
                training_codes=len(training),
                neighbours=NEIGHBOURS,
                **latent_settings,
            ),
            latent_table=LatentTable(
                rate=rate_by_latent.numpy() if model.is_variational else None,
                aggregate_mean=moments.aggregate_mean.numpy(),
                aggregate_variance=moments.aggregate_covariance.diag().numpy(),
                variance_of_mean=moments.variance_of_mean.numpy(),
                active=active.numpy(),
            ),
            factor_table=None,
            codes=_codes(moments, dataset.labels("test")),
            seconds=clock.seconds,
        )
    )


def _test(subject: Subject, images: MeasuredImages) -> tuple[SplitMetrics, Tensor, str]:
    """The split's numbers, its rate by latent [Z], and whose density the nats are of.

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
    nats_of = f"the model's likelihood, {kind}" if is_density else "the calibrated Gaussian"
    return metrics, parts.rate_by_latent, nats_of


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
        binarised=subject.dataset.info.binarisation != "none",
        dimensions=math.prod(subject.model.image_shape),
    )


def _latents(
    subject: Subject, moments: PosteriorMoments, training: PosteriorMoments
) -> tuple[LatentMetrics, dict[str, Any]]:
    """The numbers of the latent space, and how they were estimated."""
    spec, clock, seed = subject.spec, subject.clock, subject.seed
    index = spread(len(moments), spec.latent_samples)
    some = moments[index]
    z = some.sample(derive_seed(seed, "codes"))
    found: dict[str, float | None] = {}
    settings: dict[str, Any] = {"latent_images": len(some)}
    if subject.model.is_variational:
        with clock.part("mutual information"):
            found |= _surgery(some, seed, settings)
        with clock.part("held-out marginal KL"):
            training_z = training.sample(derive_seed(seed, "training codes"))
            bound = held_out_marginal_kl(training_z, z, seed)
        settings["held_out_density"] = bound.density
        found["held_out_marginal_kl"] = bound.value
        found["held_out_marginal_kl_standard_error"] = bound.standard_error
    with clock.part("energy distances"):
        found |= _beside_null(energies(z, seed))
    with clock.part("gaps"):
        found |= _beside_null(gaps(z, seed))
    with clock.part("two-sample test"):
        accuracy = two_sample_accuracy(z, prior_draws(z.shape, seed, "two samples"), seed)
    if accuracy is not None:
        found["two_sample_accuracy"] = accuracy.value
        found["two_sample_accuracy_standard_error"] = accuracy.standard_error
        found["two_sample_accuracy_chance"] = 0.5
    with clock.part("probe"):
        found |= _probe(subject, moments, training)
    null = aggregate_moments_null(len(moments), subject.model.latent_size)
    found |= _beside_null((aggregate_moments(moments), null))
    active = int(active_units(moments, spec.active_threshold).sum())
    metrics = LatentMetrics(
        active_units=active,
        latent_size=subject.model.latent_size,
        **found,  # type: ignore[arg-type]
    )
    return metrics, settings


def _surgery(moments: PosteriorMoments, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    found = surgery(moments, seed)
    settings["mutual_information_estimator"] = found.estimator
    numbers = {
        "mutual_information": found.mutual_information,
        "mutual_information_ceiling": found.ceiling,
        "marginal_kl": found.marginal_kl,
    }
    if found.standard_error is not None:
        numbers["mutual_information_standard_error"] = found.standard_error
    return numbers


def _beside_null(pair: tuple[Any, Any] | None) -> dict[str, float]:
    """{"recall": …, "recall_null": …} of a measurement and its null; nothing of None."""
    if pair is None:
        return {}
    found, null = (asdict(part) for part in pair)
    return found | {f"{name}_null": value for name, value in null.items()}


def _probe(
    subject: Subject, moments: PosteriorMoments, training: PosteriorMoments
) -> dict[str, float]:
    labels, test_labels = (subject.dataset.labels(split) for split in ("train", "test"))
    if labels is None or test_labels is None:
        return {}
    labels = labels[spread(len(labels), len(training))]
    probe = linear_probe(training.mean, labels, moments.mean, test_labels)
    if probe is None:
        return {}
    return {
        "probe_accuracy": probe.accuracy.value,
        "probe_accuracy_standard_error": probe.accuracy.standard_error,
        "probe_accuracy_chance": probe.chance,
    }


def _codes(moments: PosteriorMoments, labels: Tensor | None) -> Codes:
    """The codes of test images evenly spread over the split, which may be sorted by label."""
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
