"""The other models whose D compares with this run's: same images, same likelihood.

What MLflow knows of them comes in as plain data, so that a report is a function of its inputs.
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
RUN, TRIAL = "model/validation_", "final/validation/"  # before the metrics' names in MLflow


def siblings(
    provenance: Provenance, runs: Sequence[RunSummary], trials: Sequence[TrialSummary]
) -> tuple[OperatingPoint, ...]:
    """The runs and the trials beside the run of `provenance`, by their D and R on validation.

    Validation, since a study measures nothing else; D in nats, calibrated where it must be.
    """
    mine = _likelihood(provenance)
    found = [
        *(_trial(trial) for trial in trials if _same(trial.params, mine)),
        *(
            operating_point(run.name, "run", run.metrics, RUN)
            for run in runs
            if run.fingerprint != provenance.fingerprint and _same(run.params, mine)
        ),
    ]
    # By what is drawn: the order in which a store lists its runs is no input of the page.
    return tuple(sorted((p for p in found if p), key=lambda p: (p.kind, p.rate, p.name)))


def _trial(trial: TrialSummary) -> OperatingPoint | None:
    return operating_point(f"{trial.study}, trial {trial.number}", "trial", trial.metrics, TRIAL)


def operating_point(
    name: str,
    kind: Literal["trial", "run", "this run"],
    metrics: Mapping[str, float],
    prefix: str,
) -> OperatingPoint | None:
    """A model by its metrics; None where one that is needed is not there, or diverged."""
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
    """The weight that is not 1, or both."""
    if alpha == 1:
        return f"β {weight(beta)}"
    return f"α {weight(alpha)}" if beta == 1 else f"α {weight(alpha)}, β {weight(beta)}"


def _same(params: Mapping[str, str], mine: Mapping[str, str]) -> bool:
    return {name: text for name, text in params.items() if name.startswith("likelihood.")} == mine


def _likelihood(provenance: Provenance) -> dict[str, str]:
    """As MLflow keeps it."""
    flat = flatten({"likelihood": provenance.params["likelihood"]}, ".")
    return {name: param_text(value) for name, value in flat.items()}
