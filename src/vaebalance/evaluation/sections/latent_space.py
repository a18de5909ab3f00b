"""Section `latents`: the codes of the test images against the prior."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from vaebalance.base.seeds import derive_seed
from vaebalance.evaluation.measured_images import spread
from vaebalance.evaluation.neighbours import NEIGHBOURS
from vaebalance.evaluation.posterior_moments import PosteriorMoments, active_units
from vaebalance.evaluation.prior_match import (
    aggregate_moments,
    aggregate_moments_null,
    energies,
    gaps,
    prior_draws,
)
from vaebalance.evaluation.probe import linear_probe, two_sample_accuracy
from vaebalance.evaluation.results import LatentMetrics
from vaebalance.evaluation.sections.context import EvaluationContext
from vaebalance.evaluation.surgery import held_out_marginal_kl, surgery


def measure_latents(
    context: EvaluationContext, moments: PosteriorMoments, training: PosteriorMoments
) -> tuple[LatentMetrics, dict[str, Any]]:
    """Measure the latent space; return the numbers and the settings.

    Args:
        context: what is measured.
        moments: moments of all test images.
        training: moments of the training images to learn from.
    """
    spec, clock, seed = context.spec, context.clock, context.seed
    subset = moments[spread(len(moments), spec.latent_samples)]
    z = subset.sample(derive_seed(seed, "codes"))
    numbers, descriptions = _parts_of_the_rate(context, subset, z, training)
    with clock.part("energy distances"):
        numbers |= _with_null(energies(z, seed))
    with clock.part("gaps"):
        numbers |= _with_null(gaps(z, seed))
    with clock.part("two-sample test"):
        numbers |= _two_sample_test(z, seed)
    with clock.part("probe"):
        numbers |= _probe(context, moments, training)
    null = aggregate_moments_null(len(moments), context.model.latent_size)
    numbers |= _with_null((aggregate_moments(moments), null))
    metrics = LatentMetrics(
        active_units=int(active_units(moments, spec.active_threshold).sum()),
        latent_size=context.model.latent_size,
        **numbers,
    )
    settings = {
        "active_threshold": spec.active_threshold,
        "latent_images": len(subset),
        "training_codes": len(training),
        "neighbours": NEIGHBOURS,
    }
    return metrics, settings | descriptions


def _parts_of_the_rate(
    context: EvaluationContext, moments: PosteriorMoments, z: Tensor, training: PosteriorMoments
) -> tuple[dict[str, Any], dict[str, str]]:
    """Estimate mutual information and marginal KL; describe the estimators; empty unless a VAE."""
    if not context.model.is_variational:
        return {}, {}
    seed = context.seed
    with context.clock.part("mutual information"):
        parts = surgery(moments, seed)
    with context.clock.part("held-out marginal KL"):
        training_z = training.sample(derive_seed(seed, "training codes"))
        bound = held_out_marginal_kl(training_z, z, seed)
    numbers = {
        "mutual_information": parts.mutual_information,
        "mutual_information_standard_error": parts.standard_error,
        "mutual_information_ceiling": parts.ceiling,
        "marginal_kl": parts.marginal_kl,
        "held_out_marginal_kl": bound.value,
        "held_out_marginal_kl_standard_error": bound.standard_error,
    }
    descriptions = {
        "mutual_information_estimator": parts.estimator,
        "held_out_density": bound.density,
    }
    return numbers, descriptions


def _two_sample_test(z: Tensor, seed: int) -> dict[str, float]:
    accuracy = two_sample_accuracy(z, prior_draws(z.shape, seed, "two samples"), seed)
    if accuracy is None:
        return {}
    return {
        "two_sample_accuracy": accuracy.value,
        "two_sample_accuracy_standard_error": accuracy.standard_error,
        "two_sample_accuracy_chance": 0.5,
    }


def _with_null(pair: tuple[Any, Any] | None) -> dict[str, float]:
    """Merge a measurement with its null: {"recall": …, "recall_null": …}; empty for None."""
    if pair is None:
        return {}
    numbers, null = (asdict(part) for part in pair)
    return numbers | {f"{name}_null": value for name, value in null.items()}


def _probe(
    context: EvaluationContext, moments: PosteriorMoments, training: PosteriorMoments
) -> dict[str, float]:
    labels, test_labels = (context.dataset.labels(split) for split in ("train", "test"))
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
