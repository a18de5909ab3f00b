"""Section `disentanglement`: posterior means against known factors of variation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vaebalance.base.seeds import derive_seed
from vaebalance.data import SPLITS
from vaebalance.evaluation.disentanglement.factors import known_factors, shares
from vaebalance.evaluation.disentanglement.information_scores import (
    factor_entropies,
    modularity,
    mutual_information,
    mutual_information_gap,
)
from vaebalance.evaluation.disentanglement.intervention_scores import (
    BATCH,
    POINTS,
    VOTES,
    beta_vae_score,
    factor_vae_score,
)
from vaebalance.evaluation.disentanglement.predictor_scores import (
    DCI_IMAGES,
    SAP_IMAGES,
    dci,
    separated_attribute_predictability,
)
from vaebalance.evaluation.measured_images import spread
from vaebalance.evaluation.results import DisentanglementMetrics, FactorTable
from vaebalance.evaluation.sections.context import EvaluationContext

LARGEST_IMAGES = 15_000
"""Largest number of images to learn from and to test on, together."""
LEAST_IMAGES = 10


def measure_disentanglement(
    context: EvaluationContext,
) -> tuple[DisentanglementMetrics | None, FactorTable | None, dict[str, Any]]:
    """Compute the scores, each latent's information on each factor, and the settings.

    All splits are used together, because the protocols draw images with given factors and a single
    split lacks many combinations.
    """
    codes, factors = _codes_and_factors(context)
    names = context.dataset.info.factor_names
    data = known_factors(codes, factors, names) if names and len(codes) >= LEAST_IMAGES else None
    if data is None:
        return None, None, {}
    generator = np.random.default_rng(derive_seed(context.seed, "disentanglement"))
    with context.clock.part("mutual information gap, modularity"):
        information = mutual_information(data)
        gap = mutual_information_gap(information, factor_entropies(data))
    with context.clock.part("DCI"):
        importances = dci(data, generator)
    with context.clock.part("SAP"):
        predictability = separated_attribute_predictability(data, generator)
    with context.clock.part("FactorVAE and β-VAE scores"):
        factor_vae = factor_vae_score(data, generator)
        beta_vae = beta_vae_score(data, generator)
    metrics = DisentanglementMetrics(
        mig=gap,
        dci_disentanglement=importances.disentanglement,
        dci_completeness=importances.completeness,
        dci_informativeness=importances.informativeness,
        sap=predictability,
        modularity=modularity(information),
        factor_vae=factor_vae,
        beta_vae=beta_vae,
    )
    table = FactorTable(data.names, information, importances.importance)
    return metrics, table, {"disentanglement": _counts(len(codes), data.names)}


def _codes_and_factors(context: EvaluationContext) -> tuple[Any, Any]:
    """Collect posterior means [N, Z] and factors [N, F] of images spread over all splits."""
    codes, factors = [], []
    splits = [split for split in SPLITS if len(context.dataset.images(split))]
    total = sum(len(context.dataset.images(split)) for split in splits)
    for split in splits:
        known = context.dataset.factors(split)
        if known is None:
            return np.empty((0, 0)), np.empty((0, 0), np.int64)
        kept = max(1, len(known) * min(total, LARGEST_IMAGES) // total)
        with context.clock.part("posterior moments"):
            moments = context.moments(context.images(split).spread(kept))
        codes.append(moments.mean.double())
        factors.append(known[spread(len(known), kept)])
    return torch.cat(codes).numpy(), torch.cat(factors).numpy()


def _counts(images: int, names: tuple[str, ...]) -> str:
    """Put the protocols' sample counts into words."""
    counts = {
        "DCI": shares(images, DCI_IMAGES),
        "SAP": shares(images, SAP_IMAGES),
        "FactorVAE score": VOTES,
        "β-VAE score": POINTS,
    }
    listed = "; ".join(f"{name} {train:,} + {test:,}" for name, (train, test) in counts.items())
    return (
        f"posterior means of {images:,} images of all splits; factors {', '.join(names)}; training "
        f"+ test: {listed}, batches of {BATCH}"
    )
