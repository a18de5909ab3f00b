"""Section `disentanglement`: posterior means against known factors of variation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vaebalance.base.seeds import derive_seed
from vaebalance.data import SPLITS
from vaebalance.evaluation.disentanglement import beta_vae, dci, factor_vae, sap
from vaebalance.evaluation.disentanglement.factors import known_factors, shares
from vaebalance.evaluation.disentanglement.information import factor_entropies, mutual_information
from vaebalance.evaluation.disentanglement.mig import mutual_information_gap
from vaebalance.evaluation.disentanglement.modularity import modularity
from vaebalance.evaluation.measured_images import spread
from vaebalance.evaluation.results import DisentanglementMetrics, FactorTable
from vaebalance.evaluation.sections.subject import Subject

LARGEST_IMAGES = 15_000
"""To learn from and to test on, together."""
LEAST_IMAGES = 10


def measure_disentanglement(
    subject: Subject,
) -> tuple[DisentanglementMetrics | None, FactorTable | None, dict[str, Any]]:
    """The scores, each latent's information on each factor, and how they came about.

    Of all splits together: the protocols draw images of given factors, and a split lacks many.
    """
    codes, factors = _codes_and_factors(subject)
    names = subject.dataset.info.factor_names
    data = known_factors(codes, factors, names) if names and len(codes) >= LEAST_IMAGES else None
    if data is None:
        return None, None, {}
    generator = np.random.default_rng(derive_seed(subject.seed, "disentanglement"))
    with subject.clock.part("mutual information gap, modularity"):
        information = mutual_information(data)
        gap = mutual_information_gap(information, factor_entropies(data))
    with subject.clock.part("DCI"):
        found = dci.dci(data, generator)
    with subject.clock.part("SAP"):
        predictability = sap.separated_attribute_predictability(data, generator)
    with subject.clock.part("FactorVAE and β-VAE scores"):
        factor_vae_score = factor_vae.factor_vae_score(data, generator)
        beta_vae_score = beta_vae.beta_vae_score(data, generator)
    metrics = DisentanglementMetrics(
        mig=gap,
        dci_disentanglement=found.disentanglement,
        dci_completeness=found.completeness,
        dci_informativeness=found.informativeness,
        sap=predictability,
        modularity=modularity(information),
        factor_vae=factor_vae_score,
        beta_vae=beta_vae_score,
    )
    table = FactorTable(data.names, information, found.importance)
    return metrics, table, {"disentanglement": _counts(len(codes), data.names)}


def _codes_and_factors(subject: Subject) -> tuple[Any, Any]:
    """Posterior means [N, Z] and factors [N, F] of images spread over all splits."""
    codes, factors = [], []
    splits = [split for split in SPLITS if len(subject.dataset.images(split))]
    total = sum(len(subject.dataset.images(split)) for split in splits)
    for split in splits:
        known = subject.dataset.factors(split)
        if known is None:
            return np.empty((0, 0)), np.empty((0, 0), np.int64)
        kept = max(1, len(known) * min(total, LARGEST_IMAGES) // total)
        with subject.clock.part("posterior moments"):
            moments = subject.moments(subject.images(split).spread(kept))
        codes.append(moments.mean.double())
        factors.append(known[spread(len(known), kept)])
    return torch.cat(codes).numpy(), torch.cat(factors).numpy()


def _counts(images: int, names: tuple[str, ...]) -> str:
    """The protocols' numbers in words."""
    counts = {
        "DCI": shares(images, dci.LARGEST),
        "SAP": shares(images, sap.LARGEST),
        "FactorVAE score": factor_vae.VOTES,
        "β-VAE score": beta_vae.POINTS,
    }
    listed = "; ".join(f"{name} {train:,} + {test:,}" for name, (train, test) in counts.items())
    return (
        f"posterior means of {images:,} images of all splits; factors {', '.join(names)}; to learn "
        f"from + to test on: {listed}, batches of {factor_vae.BATCH}"
    )
