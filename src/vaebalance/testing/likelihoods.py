"""Check the requirements on a likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaebalance.testing.requirements import (
    is_close,
    knob_requirements,
    report,
    shown,
    spec_requirements,
)
from vaebalance.vae.likelihoods import AbstractLikelihood

IMAGES, CHANNELS, SIDE = 4, 2, 5
SPREADS = (0.3, 3.0, 30.0, 1000.0)
"""Standard deviations of the raw outputs for which normalisation is checked."""
REACH = 20.0
"""Densities are integrated to sinh(REACH) = 2·10⁸ scales from the mean, for heavy tails."""
POINTS = 10_001
BINARISATIONS = ("threshold", "static", "dynamic")


def check_likelihood(likelihood: AbstractLikelihood) -> None:
    """Check the requirements of `AbstractLikelihood`.

    A density is assumed to be on the real line unless its distribution has another `support`.

    Raises:
        AssertionError: lists the violations.
    """
    report(likelihood, _requirements(likelihood))


def _requirements(likelihood: AbstractLikelihood) -> Iterator[str]:
    yield from spec_requirements(likelihood)
    for training in (True, False):
        yield from _scores(likelihood, training)
        yield from _extremes(likelihood, training)
    yield from _leading_dimensions(likelihood)
    yield from _statements(likelihood)
    if likelihood.is_density:
        for spread in SPREADS:
            yield from _normalisation(likelihood, spread)
    advice = likelihood.to_calibrate(0.1, 64, 1.0)
    yield from knob_requirements(likelihood, "likelihood", [advice])


def read(likelihood: AbstractLikelihood, raw: Tensor, training: bool = False) -> Distribution:
    """Return the likelihood's p(x|z) with its initial parameters."""
    return likelihood.distribution(raw, likelihood.make_parameters().train(training))


def _raw(likelihood: AbstractLikelihood) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (IMAGES, likelihood.raw_channels(CHANNELS), SIDE, SIDE)
    return torch.randn(shape, generator=generator) * 3


def _x() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (IMAGES, CHANNELS, SIDE, SIDE), generator=generator) / 255


def _scores(likelihood: AbstractLikelihood, training: bool) -> Iterator[str]:
    """Check shapes, the range of the mean, and that every raw channel has a gradient."""
    raw, x = _raw(likelihood).requires_grad_(), _x()
    distribution = read(likelihood, raw, training)
    shapes = tuple(distribution.batch_shape), tuple(distribution.event_shape)
    if shapes != ((IMAGES,), (CHANNELS, SIDE, SIDE)):
        yield (
            f"batch and event shape are [B] and [C, H, W], here {(IMAGES,)} and "
            f"{(CHANNELS, SIDE, SIDE)}, not {shapes}: wrap the pixels in `Independent(…, 3)`."
        )
        return
    mean = distribution.mean
    if mean.shape != x.shape or not ((mean >= 0) & (mean <= 1)).all():
        yield (
            "the mean is an image with pixels in [0, 1], since reports show it and RMSE is "
            f"measured from it, not {shown(mean)}: bound it, for example by `torch.sigmoid`."
        )
    score = distribution.log_prob(x)
    if score.shape != (IMAGES,):
        yield f"log_prob is one number an image, not {shown(score)}: sum over the pixels."
        return
    (gradient,) = torch.autograd.grad(score.sum(), raw)
    unread = (gradient == 0).all(dim=3).all(dim=2).any(dim=0).nonzero().flatten().tolist()
    if unread:
        yield (
            f"every channel of the decoder's output counts, but log_prob has no gradient in "
            f"channels {unread} of {raw.shape[1]}: lower `raw_channels`, or read them."
        )


def _extremes(likelihood: AbstractLikelihood, training: bool) -> Iterator[str]:
    """Check that nothing overflows for extreme raw outputs, as of a diverging decoder."""
    for extreme in (-1e3, -30.0, 0.0, 30.0, 1e3):
        for pixel in (0.0, 0.5, 1.0):
            if not _is_finite_at(likelihood, training, extreme, pixel):
                yield (
                    "log_prob, its gradients and all parameters are finite, and the mean is in "
                    f"[0, 1], for any finite raw output, but not at raw = {extreme:g}, pixel "
                    f"{pixel:g}, {'training' if training else 'evaluation'} mode: clip scales "
                    "(`soft_clip`) and work with logarithms."
                )
                return


def _is_finite_at(
    likelihood: AbstractLikelihood, training: bool, extreme: float, pixel: float
) -> bool:
    raw = torch.full((2, likelihood.raw_channels(1), 2, 2), extreme, requires_grad=True)
    parameters = likelihood.make_parameters().train(training)
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter.fill_(extreme)
    distribution = likelihood.distribution(raw, parameters)
    score = distribution.log_prob(torch.full((2, 1, 2, 2), pixel))
    leaves = [raw, *parameters.parameters()]
    gradients = torch.autograd.grad(score.sum(), leaves, allow_unused=True)
    values = [score, *parameters.state_dict().values()]
    values += [gradient for gradient in gradients if gradient is not None]
    mean = distribution.mean
    is_in_range = bool(((mean >= 0) & (mean <= 1)).all())
    return is_in_range and all(bool(value.isfinite().all()) for value in values)


def _leading_dimensions(likelihood: AbstractLikelihood) -> Iterator[str]:
    """Check that raw output [K, B, …] has the same log_prob as K separate batches."""
    raw, x = _raw(likelihood), _x()
    together = read(likelihood, torch.stack([raw, raw + 1])).log_prob(x)
    alone = torch.stack([read(likelihood, value).log_prob(x) for value in (raw, raw + 1)])
    if not is_close(together, alone):
        yield (
            f"raw output [K, B, …] has the log_prob of K separate batches, {shown(alone)}, not "
            f"{shown(together)}: count dimensions from the end (-3 is the channel)."
        )


def _statements(likelihood: AbstractLikelihood) -> Iterator[str]:
    """Check that `is_density`, `is_mass` and `misfit` are consistent."""
    kind = likelihood.model_dump().get("kind", "")
    masses = [likelihood.is_mass(binarised=binarised) for binarised in (True, False)]
    if any(masses) and not likelihood.is_density:
        yield (
            "what is a probability mass is normalised: set `is_density`, or `is_mass` returns False"
        )
    for binarisation in BINARISATIONS:
        misfit = likelihood.misfit(binarisation)
        if misfit is None:
            continue
        if kind not in misfit or f"data.binarisation = {binarisation!r}" not in misfit:
            yield (
                f"a misfit names the likelihood's kind and `data.binarisation = {binarisation!r}`, "
                f"and what fits instead: mend {misfit!r}."
            )
        if masses[0]:
            yield "what is a mass on black and white pixels fits them: mend `misfit` or `is_mass`."


def _normalisation(likelihood: AbstractLikelihood, spread: float) -> Iterator[str]:
    """Check that p(x|z) sums or integrates to 1, and that `variance` is its variance."""
    raw = _raw_of_pixels(likelihood, spread)
    pixels = read(likelihood, raw)
    levels = _levels(likelihood)
    x, weight = (levels, torch.ones_like(levels)) if levels is not None else _grid(pixels)
    images = x.expand(-1, len(raw))[..., None, None, None]
    mass = pixels.log_prob(images).exp() * weight
    total = mass.sum(0)
    if not is_close(total, torch.ones_like(total), 2e-4):
        yield (
            f"p(x|z) {'sums' if levels is not None else 'integrates'} to 1 (raw outputs of spread "
            f"{spread:g}), not to {shown(total)}: mind the constant of log_prob; or, if it is "
            "meant to be none, set `is_density = False`; or, if x is bounded, say so in `support`."
        )
        return
    mean = (mass * x).sum(0)
    expected = (mass * (x - mean).square()).sum(0)
    # The variance of a mass may be that of coarser levels, with an error of a level squared.
    absolute = 1 / 32**2 if levels is not None else 1e-7
    actual = pixels.variance.flatten().double()
    relative = 0.01 if levels is not None else 1e-3
    if not torch.allclose(actual, expected, rtol=relative, atol=absolute):
        yield (
            f"`variance` is that of p(x|z), {shown(expected)} (raw outputs of spread {spread:g}), "
            f"not {shown(actual)}: diagnosis and calibration read it."
        )


def _raw_of_pixels(likelihood: AbstractLikelihood, spread: float, pixels: int = 40) -> Tensor:
    """Draw the raw output of images of one pixel, in float64."""
    generator = torch.Generator().manual_seed(5)
    shape = (pixels, likelihood.raw_channels(1), 1, 1)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * spread


def _levels(likelihood: AbstractLikelihood) -> Tensor | None:
    """Return all values of a pixel, [L, 1]; None: a pixel is continuous."""
    if likelihood.is_mass(binarised=False):
        return (torch.arange(256, dtype=torch.float64) / 255)[:, None]
    if likelihood.is_mass(binarised=True):
        return torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    return None


def _grid(pixels: Distribution) -> tuple[Tensor, Tensor]:
    """Return grids [POINTS, B] over the support of one-pixel densities, and quadrature weights."""
    mean = pixels.mean.detach().flatten().double()
    t = torch.linspace(0, 1, POINTS, dtype=torch.float64)[:, None]
    rule = torch.full_like(t, 2.0)  # Simpson's rule
    rule[1::2], rule[0], rule[-1] = 4.0, 1.0, 1.0
    rule = rule / (3 * (POINTS - 1))
    if _is_on_unit_interval(pixels):
        return t.expand(-1, len(mean)), rule
    peak = pixels.log_prob(pixels.mean).flatten().double()
    scale = (-peak).exp() / math.sqrt(2 * math.pi)  # of a normal density with this peak
    u = REACH * (2 * t - 1)
    return mean + scale * u.sinh(), 2 * REACH * rule * scale * u.cosh()


def _is_on_unit_interval(pixels: Distribution) -> bool:
    try:
        support = pixels.support
    except NotImplementedError:
        return False
    support = getattr(support, "base_constraint", support)
    return support is constraints.unit_interval
