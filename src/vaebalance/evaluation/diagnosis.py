"""What is wrong with a training, in words with evidence, and the knob that mends it.

A diagnosis reads the reports of epochs up to the one whose weights are kept; an obstacle of the
balance (a schedule that does not end, a controller that cannot reach its target) is that of the
last epoch. Its thresholds are far from what healthy trainings show: a healthy one gets no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from vaebalance.balancing import NOT_HELD, AbstractBalance
from vaebalance.base.reports import EpochReport
from vaebalance.base.verdicts import Verdict
from vaebalance.vae.likelihoods import AbstractLikelihood

COLLAPSED = "collapsed"
KL_IGNORED = "KL ignored: this is an autoencoder"
DWARFED = "one term's gradient dwarfs the other's"
MISSPECIFIED = "likelihood mis-specified"

COLLAPSED_RATE = 0.05
"""Nats per image below which a latent says next to nothing: 0.07 bits."""
COLLAPSED_SHARE = 0.5
"""Of the latents. Fewer are spare ones, which every VAE leaves unused that has more than it needs.
"""
DWARFING = 100.0
"""Ratio of two terms' gradient norms. Healthy trainings have less than 10."""
MISFIT_SIGMA = 2.5
"""Ratio of σ as the loss takes it and as the reconstructions have it, either way."""
EPOCHS = 5
"""Gradient norms are the median over so many epochs."""
LASTING, LASTING_SHARE = 3, 0.1
"""Epochs, and share of those planned, for which something must hold before it is said while
training goes on: many a healthy training begins with a collapsed code."""
NAMED = 12
"""Latents named one by one, at most."""


@dataclass(frozen=True)
class Patient:
    """What a diagnosis knows of a training besides its epochs."""

    balance: AbstractBalance
    likelihood: AbstractLikelihood
    is_variational: bool
    dimensions: int  # n = C·H·W


def diagnose(patient: Patient, history: Sequence[EpochReport], kept: int) -> list[Verdict]:
    """The verdicts on a training that is over; none: it is healthy.

    Args:
        patient: what was trained.
        history: its epochs, at least one.
        kept: index of the epoch whose weights are the trained model.
    """
    until_kept, obstacle = history[: kept + 1], history[-1].obstacle
    if not patient.is_variational:  # no rate, nothing to balance
        return []
    collapse = _collapse(patient, until_kept)
    if obstacle:  # weights that are not what was asked for explain all that follows from weights
        return [obstacle, *([collapse] if collapse else [])]
    found = (
        collapse or _kl_ignored(patient, until_kept) or _dwarfed(patient, until_kept),
        _misspecified(patient, until_kept),
    )
    return [verdict for verdict in found if verdict]


def diagnose_so_far(
    patient: Patient, history: Sequence[EpochReport], planned: int
) -> list[Verdict]:
    """The verdicts that have held for some epochs of a training that goes on.

    A controller that is still on its way is no news.

    Args:
        patient: what is trained.
        history: its epochs so far.
        planned: epochs that it will have, if nothing stops it.
    """
    lasting = max(LASTING, math.ceil(LASTING_SHARE * planned))
    if len(history) < lasting:
        return []
    ends = range(len(history) - lasting + 1, len(history) + 1)
    recent = [diagnose(patient, history[:end], end - 1) for end in ends]
    always = set.intersection(*({verdict.name for verdict in verdicts} for verdicts in recent))
    return [verdict for verdict in recent[-1] if verdict.name in always - {NOT_HELD}]


def _collapse(patient: Patient, history: Sequence[EpochReport]) -> Verdict | None:
    """More than half of the latents carry nothing."""
    rates = history[-1].vitals.rate_by_latent
    collapsed = [index for index, rate in enumerate(rates) if rate < COLLAPSED_RATE]
    if len(collapsed) <= COLLAPSED_SHARE * len(rates):
        return None
    names = [f"z{index}" for index in collapsed[:NAMED]]
    names += ["…"] if len(collapsed) > NAMED else []
    which = "all" if len(collapsed) == len(rates) else ", ".join(names)
    return Verdict(
        COLLAPSED,
        f"{len(collapsed)} of {len(rates)} latents ({which}) carry less than {COLLAPSED_RATE:g} "
        f"nats each; R is {history[-1].validation.rate:.3g} nats in all.",
        f"For more rate {patient.balance.for_more_rate}; or let the likelihood ask for more detail "
        "(a smaller σ).",
        _since(
            history,
            lambda epoch: all(epoch.vitals.rate_by_latent[i] < COLLAPSED_RATE for i in collapsed),
        ),
    )


def _kl_ignored(patient: Patient, history: Sequence[EpochReport]) -> Verdict | None:
    """The rate's gradient is nothing beside the distortion's."""
    ratio = _gradient_ratio(history)
    if ratio >= 1 / DWARFING:
        return None
    last = history[-1]
    sigma = median(last.vitals.sigma_by_latent)
    return Verdict(
        KL_IGNORED,
        f"The gradient of α·D is {_times(_over(1.0, ratio))} that of β·R; R is "
        f"{last.validation.rate:.4g} nats, and a posterior's σ is {sigma:.2g} (median latent) "
        "where the prior's is 1.",
        f"For less rate {patient.balance.for_less_rate}.",
        _since(history, lambda epoch: _gradient_ratio([epoch]) < 1 / DWARFING),
    )


def _dwarfed(patient: Patient, history: Sequence[EpochReport]) -> Verdict | None:
    """The rate's gradient, or the penalty's, is all that is left of the loss's."""
    ratio = _gradient_ratio(history)
    if ratio > DWARFING:
        return Verdict(
            DWARFED,
            f"The gradient of β·R is {_times(ratio)} that of α·D.",
            f"For more rate {patient.balance.for_more_rate}.",
            _since(history, lambda epoch: _gradient_ratio([epoch]) > DWARFING),
        )
    ratio = _penalty_ratio(history)
    if ratio > DWARFING:
        return Verdict(
            DWARFED,
            f"The gradient of the penalty is {_times(ratio)} those of α·D and β·R together.",
            "Lower penalty.weight.",
            _since(history, lambda epoch: _penalty_ratio([epoch]) > DWARFING),
        )
    return None


def _misspecified(patient: Patient, history: Sequence[EpochReport]) -> Verdict | None:
    """The loss takes a pixel's error to be of another size than it is."""

    def ratio_of(epoch: EpochReport) -> float:
        implied = implied_sigma(patient, epoch)
        return 1.0 if not implied else implied / epoch.vitals.rmse

    def is_misfit(epoch: EpochReport) -> bool:
        return not 1 / MISFIT_SIGMA < ratio_of(epoch) < MISFIT_SIGMA

    last = history[-1]
    if not is_misfit(last):
        return None
    too_large = ratio_of(last) > 1
    return Verdict(
        MISSPECIFIED,
        f"The σ of a pixel implied by likelihood and weights is {implied_sigma(patient, last):.2g},"
        f" but the residual is {last.vitals.rmse:.2g}: for a calibrated decoder the KL weighs "
        f"{_times(max(ratio_of(last), 1 / ratio_of(last)) ** 2)} too "
        f"{'much' if too_large else 'little'}.",
        patient.likelihood.to_calibrate(last.vitals.rmse, patient.dimensions, last.validation.beta),
        _since(history, is_misfit),
    )


def implied_sigma(patient: Patient, epoch: EpochReport) -> float | None:
    """σ of a pixel, in pixel values, that the loss takes for granted; None: α or β is not above 0.

    What p(x|z) predicts, or where α and β decide, σ√(β/α): α·SSE/(2σ²) + β·KL is that Gaussian's.
    """
    alpha, beta = epoch.validation.alpha, epoch.validation.beta
    if alpha <= 0 or beta <= 0:
        return None
    return patient.likelihood.implied_sigma(
        epoch.vitals.predicted_sigma, epoch.vitals.rmse, patient.dimensions, beta / alpha
    )


def _gradient_ratio(history: Sequence[EpochReport]) -> float:
    """‖∇ β·R‖ / ‖∇ α·D‖, the median of the last epochs."""
    norms = [epoch.gradient_norms for epoch in history[-EPOCHS:]]
    return median(_over(norm.rate, norm.distortion) for norm in norms)


def _penalty_ratio(history: Sequence[EpochReport]) -> float:
    """The penalty's gradient over the sum of the others, the median of the last epochs."""
    norms = [epoch.gradient_norms for epoch in history[-EPOCHS:]]
    return median(_over(norm.penalty or 0.0, norm.rate + norm.distortion) for norm in norms)


def _over(a: float, b: float) -> float:
    """a/b, which is 1 where both are 0."""
    if b == 0:
        return 1.0 if a == 0 else math.inf
    return a / b


def _since(history: Sequence[EpochReport], holds: Callable[[EpochReport], bool]) -> int:
    """The first epoch of the unbroken run of epochs to the last in which it holds."""
    since = history[-1].epoch
    for epoch in reversed(history):
        if not holds(epoch):
            break
        since = epoch.epoch
    return since


def _times(ratio: float) -> str:
    """A ratio in words."""
    if math.isinf(ratio):
        return "infinitely many times"
    return f"{ratio:,.3g} times" if ratio < 1e4 else f"{ratio:.0e} times"
