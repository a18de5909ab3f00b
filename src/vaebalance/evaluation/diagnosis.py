"""What is wrong with a training, with evidence and the setting that helps.

A diagnosis reads the reports of epochs up to the one whose weights are kept. The finding of the
balance (an unfinished schedule, a controller that cannot reach its target) is that of the last
epoch. The thresholds are far from what healthy trainings show: a healthy one gets no verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import TypeAdapter

from vaebalance.balancing import NOT_HELD, AbstractBalance, Balance
from vaebalance.base.best_epoch import best_of
from vaebalance.base.provenance import read_provenance
from vaebalance.base.reports import EpochReport, read_reports
from vaebalance.base.verdicts import Verdict
from vaebalance.vae.likelihoods import AbstractLikelihood, Likelihood

COLLAPSED = "collapsed"
KL_IGNORED = "KL ignored: this is an autoencoder"
DWARFED = "one term's gradient dwarfs the other's"
MISSPECIFIED = "likelihood mis-specified"

COLLAPSED_RATE = 0.05
"""Nats per image (0.07 bits) below which a latent carries almost nothing."""
COLLAPSED_SHARE = 0.5
"""Share of collapsed latents above which the code counts as collapsed. A smaller share is common: a
VAE leaves latents unused when it has more than it needs."""
DWARFING = 100.0
"""Ratio of the gradient norms of two terms. In healthy trainings it is below 10."""
MISFIT_SIGMA = 2.5
"""Ratio between the σ that the loss implies and that of the reconstructions, in either
direction."""
EPOCHS = 5
"""Gradient norms are medians over this many epochs."""
LASTING, LASTING_SHARE = 3, 0.1
"""Epochs, and share of the planned epochs, for which a fault must last before it is reported
during training: many healthy trainings begin with a collapsed code."""
NAMED = 12
"""Largest number of latents that are named."""


@dataclass(frozen=True)
class DiagnosisContext:
    """What a diagnosis knows about a training besides its epochs."""

    balance: AbstractBalance
    likelihood: AbstractLikelihood
    is_variational: bool
    dimensions: int  # n = C·H·W


def diagnose_trained(artifacts: Path) -> list[Verdict]:
    """Return the verdicts on the model that the train stage wrote below `artifacts`.

    Raises:
        UserError: an output is missing or damaged.
    """
    history = read_reports(artifacts / "reports.json")
    origin = read_provenance(artifacts / "model")
    context = DiagnosisContext(
        balance=_read_as(Balance, origin.params["balance"]),
        likelihood=_read_as(Likelihood, origin.params["likelihood"]),
        is_variational=origin.params["model"]["posterior"] != "deterministic",
        dimensions=math.prod(origin.dataset["image_shape"]),
    )
    return diagnose(context, history, history.index(best_of(history)))


def _read_as(kind: Any, values: dict[str, Any]) -> Any:
    return TypeAdapter(kind).validate_json(json.dumps(values))


def diagnose(
    context: DiagnosisContext, history: Sequence[EpochReport], kept: int = -1
) -> list[Verdict]:
    """Return the verdicts on a finished training; an empty list: it is healthy.

    Args:
        context: what was trained.
        history: its epochs, at least one.
        kept: index of the epoch whose weights are the trained model; by default the last.
    """
    until_kept, finding = history[: range(len(history))[kept] + 1], history[-1].finding
    if not context.is_variational:  # there is no rate to balance
        return []
    collapse = _collapse(context, until_kept)
    if finding:  # weights other than the intended ones explain whatever follows from weights
        return [finding, *([collapse] if collapse else [])]
    verdicts = (
        collapse or _kl_ignored(context, until_kept) or _dwarfed(context, until_kept),
        _misspecified(context, until_kept),
    )
    return [verdict for verdict in verdicts if verdict]


def diagnose_so_far(
    context: DiagnosisContext, history: Sequence[EpochReport], planned: int
) -> list[Verdict]:
    """Return the verdicts that have held for several epochs of a training that is still running.

    A controller that has not reached its target yet is not reported.

    Args:
        context: what is being trained.
        history: its epochs so far.
        planned: number of epochs that it has if nothing stops it.
    """
    lasting = max(LASTING, math.ceil(LASTING_SHARE * planned))
    if len(history) < lasting:
        return []
    ends = range(len(history) - lasting + 1, len(history) + 1)
    recent = [diagnose(context, history[:end], end - 1) for end in ends]
    always = set.intersection(*({verdict.name for verdict in verdicts} for verdicts in recent))
    return [verdict for verdict in recent[-1] if verdict.name in always - {NOT_HELD}]


def _collapse(context: DiagnosisContext, history: Sequence[EpochReport]) -> Verdict | None:
    """Report that more than half of the latents carry nothing."""
    rates = history[-1].posterior_stats.rate_by_latent
    collapsed = [index for index, rate in enumerate(rates) if rate < COLLAPSED_RATE]
    if len(collapsed) <= COLLAPSED_SHARE * len(rates):
        return None
    names = [f"z{index}" for index in collapsed[:NAMED]]
    names += ["…"] if len(collapsed) > NAMED else []
    which = "all" if len(collapsed) == len(rates) else ", ".join(names)
    return Verdict(
        COLLAPSED,
        f"{len(collapsed)} of {len(rates)} latents ({which}) carry less than {COLLAPSED_RATE:g} "
        f"nats each; R is {history[-1].validation.rate:.3g} nats in total.",
        f"For more rate {context.balance.for_more_rate}; or let the likelihood require more detail "
        "(a smaller σ).",
        _since(
            history,
            lambda epoch: all(
                epoch.posterior_stats.rate_by_latent[i] < COLLAPSED_RATE for i in collapsed
            ),
        ),
    )


def _kl_ignored(context: DiagnosisContext, history: Sequence[EpochReport]) -> Verdict | None:
    """Report that the rate's gradient is negligible beside the distortion's."""
    ratio = _gradient_ratio(history)
    if ratio >= 1 / DWARFING:
        return None
    last = history[-1]
    sigma = median(last.posterior_stats.sigma_by_latent)
    return Verdict(
        KL_IGNORED,
        f"The gradient of α·D is {_times(_over(1.0, ratio))} that of β·R; R is "
        f"{last.validation.rate:.4g} nats, and the posterior's σ is {sigma:.2g} (median latent), "
        "while the prior's is 1.",
        f"For less rate {context.balance.for_less_rate}.",
        _since(history, lambda epoch: _gradient_ratio([epoch]) < 1 / DWARFING),
    )


def _dwarfed(context: DiagnosisContext, history: Sequence[EpochReport]) -> Verdict | None:
    """Report that the gradient of the rate, or of the penalty, dominates the loss."""
    ratio = _gradient_ratio(history)
    if ratio > DWARFING:
        return Verdict(
            DWARFED,
            f"The gradient of β·R is {_times(ratio)} that of α·D.",
            f"For more rate {context.balance.for_more_rate}.",
            _since(history, lambda epoch: _gradient_ratio([epoch]) > DWARFING),
        )
    ratio = _penalty_ratio(history)
    if ratio > DWARFING:
        return Verdict(
            DWARFED,
            f"The gradient of the penalty is {_times(ratio)} that of α·D and β·R together.",
            "Lower penalty.weight.",
            _since(history, lambda epoch: _penalty_ratio([epoch]) > DWARFING),
        )
    return None


def _misspecified(context: DiagnosisContext, history: Sequence[EpochReport]) -> Verdict | None:
    """Report that the loss implies another error of a pixel than there is."""

    def ratio_of(epoch: EpochReport) -> float:
        implied = implied_sigma(context, epoch)
        return 1.0 if not implied else implied / epoch.posterior_stats.rmse

    def is_misfit(epoch: EpochReport) -> bool:
        return not 1 / MISFIT_SIGMA < ratio_of(epoch) < MISFIT_SIGMA

    last = history[-1]
    if not is_misfit(last):
        return None
    too_large, rmse = ratio_of(last) > 1, last.posterior_stats.rmse
    return Verdict(
        MISSPECIFIED,
        f"The σ of a pixel implied by likelihood and weights is {implied_sigma(context, last):.2g},"
        f" but the residual is {rmse:.2g}: for a calibrated decoder the KL weighs "
        f"{_times(max(ratio_of(last), 1 / ratio_of(last)) ** 2)} too "
        f"{'much' if too_large else 'little'}.",
        context.likelihood.to_calibrate(rmse, context.dimensions, last.validation.beta),
        _since(history, is_misfit),
    )


def implied_sigma(context: DiagnosisContext, epoch: EpochReport) -> float | None:
    """Return the σ of a pixel, in pixel values, that the loss implies; None unless α, β > 0.

    It is what p(x|z) predicts, or, where α and β decide, σ√(β/α): the loss α·SSE/(2σ²) + β·KL is
    that of this Gaussian.
    """
    alpha, beta = epoch.validation.alpha, epoch.validation.beta
    if alpha <= 0 or beta <= 0:
        return None
    return context.likelihood.implied_sigma(
        epoch.posterior_stats.predicted_sigma,
        epoch.posterior_stats.rmse,
        context.dimensions,
        beta / alpha,
    )


def _gradient_ratio(history: Sequence[EpochReport]) -> float:
    """Return ‖∇ β·R‖ / ‖∇ α·D‖, the median of the last epochs."""
    norms = [epoch.gradient_norms for epoch in history[-EPOCHS:]]
    return median(_over(norm.rate, norm.distortion) for norm in norms)


def _penalty_ratio(history: Sequence[EpochReport]) -> float:
    """Return the penalty's gradient over the sum of the others, the median of the last epochs."""
    norms = [epoch.gradient_norms for epoch in history[-EPOCHS:]]
    return median(_over(norm.penalty or 0.0, norm.rate + norm.distortion) for norm in norms)


def _over(a: float, b: float) -> float:
    """Divide a by b; 1 if both are 0."""
    if b == 0:
        return 1.0 if a == 0 else math.inf
    return a / b


def _since(history: Sequence[EpochReport], holds: Callable[[EpochReport], bool]) -> int:
    """Return the first epoch of the unbroken run of epochs, up to the last, in which it holds."""
    since = history[-1].epoch
    for epoch in reversed(history):
        if not holds(epoch):
            break
        since = epoch.epoch
    return since


def _times(ratio: float) -> str:
    """Put a ratio into words."""
    if math.isinf(ratio):
        return "infinitely many times"
    return f"{ratio:,.3g} times" if ratio < 1e4 else f"{ratio:.0e} times"
