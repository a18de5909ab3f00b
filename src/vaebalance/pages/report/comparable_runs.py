"""Other models of the same images and likelihood, whose D is comparable with this run's.

Their data come from MLflow as plain values, so that a report depends only on its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from vaebalance.base.provenance import Provenance
from vaebalance.pages.figures.rate_distortion import OperatingPoint
from vaebalance.pages.kit.words import shortened, weight
from vaebalance.tracking import RunSummary, TrialSummary
from vaebalance.tracking.points import flatten, param_text

NAME_LENGTH = 60  # characters of a run's name in running text
RUN, TRIAL = "model/validation_", "final/validation/"  # prefixes of metrics in MLflow


def comparable_runs(
    provenance: Provenance, runs: Sequence[RunSummary], trials: Sequence[TrialSummary]
) -> tuple[OperatingPoint, ...]:
    """Return the runs and trials with this run's likelihood as points of R and D on validation.

    Studies measure only the validation split. D is in nats, under a calibrated Gaussian if the
    likelihood is not a density.
    """
    likelihood = _likelihood(provenance)
    points = [
        *(_trial(trial) for trial in trials if _has_likelihood(trial.params, likelihood)),
        *(
            operating_point(run.name, "run", run.metrics, RUN)
            for run in runs
            if run.fingerprint != provenance.fingerprint and _has_likelihood(run.params, likelihood)
        ),
    ]
    # Sort by what is drawn, so that the page does not depend on the order of MLflow's list.
    return tuple(sorted((p for p in points if p), key=lambda p: (p.kind, p.rate, p.name)))


def _trial(trial: TrialSummary) -> OperatingPoint | None:
    return operating_point(f"{trial.study}, trial {trial.number}", "trial", trial.metrics, TRIAL)


def operating_point(
    name: str,
    kind: Literal["trial", "run", "this run"],
    metrics: Mapping[str, float],
    prefix: str,
) -> OperatingPoint | None:
    """Return the model's point; None if a required metric is missing or not finite."""
    keys = [f"{prefix}{key}" for key in ("rate", "negative_elbo", "alpha", "beta")]
    if not all(math.isfinite(metrics.get(key, math.nan)) for key in keys):
        return None
    rate, bound, alpha, beta = (metrics[key] for key in keys)
    return OperatingPoint(
        name=shortened(name, NAME_LENGTH),
        kind=kind,
        weights=f"α = {weight(alpha)}, β = {weight(beta)}",
        label=weights_label(alpha, beta),
        rate=rate,
        distortion=bound - rate,
        nll=metrics.get("test/importance_weighted_nll"),
    )


def weights_label(alpha: float, beta: float) -> str:
    """Name the weight that is not 1, or both weights."""
    if alpha == 1:
        return f"β {weight(beta)}"
    return f"α {weight(alpha)}" if beta == 1 else f"α {weight(alpha)}, β {weight(beta)}"


def _has_likelihood(params: Mapping[str, str], likelihood: Mapping[str, str]) -> bool:
    chosen = {name: text for name, text in params.items() if name.startswith("likelihood.")}
    return chosen == likelihood


def _likelihood(provenance: Provenance) -> dict[str, str]:
    """Return the likelihood's parameters as MLflow stores them."""
    flat = flatten({"likelihood": provenance.params["likelihood"]}, ".")
    return {name: param_text(value) for name, value in flat.items()}
