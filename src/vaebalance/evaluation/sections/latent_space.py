"""Section `latents`: what the codes of the test images look like beside the prior."""

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
from vaebalance.evaluation.probe import linear_probe
from vaebalance.evaluation.results import LatentMetrics
from vaebalance.evaluation.sections.subject import Subject
from vaebalance.evaluation.surgery import held_out_marginal_kl, surgery
from vaebalance.evaluation.two_sample import two_sample_accuracy


def measure_latents(
    subject: Subject, moments: PosteriorMoments, training: PosteriorMoments
) -> tuple[LatentMetrics, dict[str, Any]]:
    """The numbers of the latent space, and how they came about.

    Args:
        subject: what is measured.
        moments: of all test images.
        training: of the training images to learn from.
    """
    spec, clock, seed = subject.spec, subject.clock, subject.seed
    some = moments[spread(len(moments), spec.latent_samples)]
    z = some.sample(derive_seed(seed, "codes"))
    found, words = _parts_of_the_rate(subject, some, z, training)
    with clock.part("energy distances"):
        found |= _beside_null(energies(z, seed))
    with clock.part("gaps"):
        found |= _beside_null(gaps(z, seed))
    with clock.part("two-sample test"):
        found |= _two_sample_test(z, seed)
    with clock.part("probe"):
        found |= _probe(subject, moments, training)
    null = aggregate_moments_null(len(moments), subject.model.latent_size)
    found |= _beside_null((aggregate_moments(moments), null))
    metrics = LatentMetrics(
        active_units=int(active_units(moments, spec.active_threshold).sum()),
        latent_size=subject.model.latent_size,
        **found,
    )
    settings = {
        "active_threshold": spec.active_threshold,
        "latent_images": len(some),
        "training_codes": len(training),
        "neighbours": NEIGHBOURS,
    }
    return metrics, settings | words


def _parts_of_the_rate(
    subject: Subject, moments: PosteriorMoments, z: Tensor, training: PosteriorMoments
) -> tuple[dict[str, Any], dict[str, str]]:
    """Mutual information and marginal KL, and the estimators in words; of a VAE only."""
    if not subject.model.is_variational:
        return {}, {}
    seed = subject.seed
    with subject.clock.part("mutual information"):
        found = surgery(moments, seed)
    with subject.clock.part("held-out marginal KL"):
        training_z = training.sample(derive_seed(seed, "training codes"))
        bound = held_out_marginal_kl(training_z, z, seed)
    numbers = {
        "mutual_information": found.mutual_information,
        "mutual_information_standard_error": found.standard_error,
        "mutual_information_ceiling": found.ceiling,
        "marginal_kl": found.marginal_kl,
        "held_out_marginal_kl": bound.value,
        "held_out_marginal_kl_standard_error": bound.standard_error,
    }
    words = {
        "mutual_information_estimator": found.estimator,
        "held_out_density": bound.density,
    }
    return numbers, words


def _two_sample_test(z: Tensor, seed: int) -> dict[str, float]:
    accuracy = two_sample_accuracy(z, prior_draws(z.shape, seed, "two samples"), seed)
    if accuracy is None:
        return {}
    return {
        "two_sample_accuracy": accuracy.value,
        "two_sample_accuracy_standard_error": accuracy.standard_error,
        "two_sample_accuracy_chance": 0.5,
    }


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
