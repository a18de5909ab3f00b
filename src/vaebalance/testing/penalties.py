"""Check the requirements on a penalty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaebalance.balancing.penalties import AbstractPenalty, Codes, Components
from vaebalance.testing.requirements import is_close, report, shown, spec_requirements

IMAGES = 50
LATENTS = 3


def check_penalty(penalty: AbstractPenalty) -> None:
    """Check the requirements of `AbstractPenalty`.

    Raises:
        AssertionError: lists the violations.
    """
    report(penalty, _requirements(penalty))


def _requirements(penalty: AbstractPenalty) -> Iterator[str]:
    yield from spec_requirements(penalty)
    for batch in (1, 2, 8):
        yield from _components(penalty, batch)
    yield from _draws(penalty)
    yield from _gradient(penalty)
    yield from _stacked(penalty)


def _normal(mean: Tensor, std: Tensor) -> Independent[Distribution]:
    return Independent(Normal(mean, std), 1)


class Moments(NamedTuple):
    """Moments of a batch of posteriors and the noise of their samples, [B, Z] each."""

    mean: Tensor
    std: Tensor
    noise: Tensor
    """The posterior samples are z = mean + std·noise."""


def _moments(batch: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Moments:
    """Draw the moments of a batch."""
    generator = torch.Generator().manual_seed(seed)
    mean, std, noise = (
        torch.randn(batch, LATENTS, generator=generator, dtype=dtype) for _ in range(3)
    )
    return Moments(mean, 0.2 + std.abs(), noise)


def _measure(penalty: AbstractPenalty, moments: Moments, seed: int = 1) -> Components:
    mean, std, noise = moments
    torch.manual_seed(seed)  # for draws of the penalty
    prior = _normal(torch.zeros_like(mean[0]), torch.ones_like(mean[0]))
    return penalty.measure(Codes(_normal(mean, std), mean + noise * std, prior, IMAGES))


def _components(penalty: AbstractPenalty, batch: int) -> Iterator[str]:
    """Check names, shapes and values of the components, and their costs."""
    with torch.random.fork_rng():
        components = _measure(penalty, _moments(batch))
    costs = penalty.coefficients()
    if list(components) != list(costs):
        yield (
            f"each component has a cost, in the same order; measured are {list(components)}, and "
            f"`coefficients` has {list(costs)}: give what costs nothing 0.0."
        )
        return
    for name, value in components.items():
        if value.shape != () or not value.isfinite():
            yield (
                f"{name} is one finite number for a batch of {batch}, not {shown(value)}: average "
                "over the batch, and mind a batch of one."
            )
            return
    expected = sum(costs[name] * float(value) for name, value in components.items())
    weighted = torch.as_tensor(penalty.weighted(components))
    if not is_close(weighted, torch.tensor(expected)):
        yield f"`weighted` is the sum of costs times components, {expected:.6g}, not {weighted}."


def _draws(penalty: AbstractPenalty) -> Iterator[str]:
    """Check `draws`: without draws the components are the same for any seed."""
    moments = _moments(8)
    with torch.random.fork_rng():
        first, second = (_measure(penalty, moments, seed) for seed in (1, 2))
    differs = any(not torch.equal(first[name], second[name]) for name in first)
    if differs and not penalty.draws:
        yield (
            "what draws random numbers says so, so that trials are not trained together with it: "
            "set `draws: ClassVar[bool] = True`."
        )


def _gradient(penalty: AbstractPenalty) -> Iterator[str]:
    """Check the gradient with respect to the posterior's moments against finite differences."""
    if not penalty.coefficients():
        return
    mean, std, noise = _moments(5, seed=3, dtype=torch.float64)

    def loss(mean: Tensor, log_std: Tensor) -> Tensor:
        components = _measure(penalty, Moments(mean, log_std.exp(), noise))
        return torch.as_tensor(penalty.weighted(components)) + 0 * mean.sum()

    inputs = mean.requires_grad_(), std.log().requires_grad_()
    with torch.random.fork_rng():
        try:
            torch.autograd.gradcheck(loss, inputs, atol=1e-4)
        except RuntimeError as error:
            yield (
                "the gradient is that of finite differences, but it is not: neither detach nor "
                f"round what is measured. {str(error).splitlines()[0]}"
            )


def _stacked(penalty: AbstractPenalty) -> Iterator[str]:
    """Check that several learners' penalties can be computed as one, by `torch.vmap`."""
    if not penalty.coefficients():
        return
    rows = [_moments(8, seed) for seed in (1, 2)]
    prior = _normal(torch.zeros(LATENTS), torch.ones(LATENTS))

    def alone(mean: Tensor, std: Tensor, z: Tensor) -> Components:
        return penalty.measure(Codes(_normal(mean, std), z, prior, IMAGES))

    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            together = torch.vmap(alone, randomness="same")(*columns)
        except RuntimeError as error:
            yield (
                "no tensor is converted to a number, so that trials can be trained together; "
                f"`torch.vmap` reports: {str(error).splitlines()[0]} Use `torch.where` instead of "
                "`if`."
            )
            return
        for index, row in enumerate(rows):
            torch.manual_seed(0)
            for name, value in alone(*row).items():
                if not is_close(together[name][index], value):
                    yield f"{name} under `torch.vmap` equals that of one batch, but differs here."
