"""Check the requirements on an encoder and a decoder."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vaebalance.testing.requirements import is_close, report, shown

BATCH = 3


def check_network(
    encoder: nn.Module,
    decoder: nn.Module,
    shape: Sequence[int],
    latent_size: int,
    raw_shape: Sequence[int] | None = None,
) -> None:
    """Check that an encoder and a decoder can serve a Gaussian VAE.

    Args:
        encoder: [B, *shape] -> [B, 2·latent_size], means before log-variances.
        decoder: [B, latent_size] -> [B, *raw_shape].
        shape: shape of an example, such as (1, 28, 28).
        latent_size: number of latents Z.
        raw_shape: shape of the likelihood's raw input; None: `shape`, one output per pixel.

    Raises:
        AssertionError: lists the violations.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, *shape, generator=generator)
    z = torch.randn(BATCH, latent_size, generator=generator)
    encoder, decoder = (
        copy.deepcopy(encoder),
        copy.deepcopy(decoder),
    )  # calls change running statistics
    with torch.random.fork_rng():
        report(encoder, _requirements("encoder", encoder, x, (2 * latent_size,)))
        report(decoder, _requirements("decoder", decoder, z, tuple(raw_shape or shape)))


def _requirements(
    name: str, network: nn.Module, x: Tensor, shape: tuple[int, ...]
) -> Iterator[str]:
    output = network.train()(x)
    wanted = (len(x), *shape)
    if output.shape != wanted:
        yield (
            f"the {name} takes {tuple(x.shape)} to {wanted}, not to {tuple(output.shape)}: mend "
            "its last layer (a Gaussian posterior needs two features a latent; a likelihood says "
            "in `raw_channels` how many channels it reads)."
        )
        return
    yield from _gradients(name, network, output)
    yield from _range(name, output)
    yield from _repeats(name, network.eval(), x)


def _gradients(name: str, network: nn.Module, output: Tensor) -> Iterator[str]:
    """Check that every parameter has a finite gradient."""
    named = [(path, value) for path, value in network.named_parameters() if value.requires_grad]
    if not named or not output.requires_grad:
        return
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(
        (output * weights).sum(), [value for _, value in named], allow_unused=True
    )
    unused = [path for (path, _), g in zip(named, gradients, strict=True) if g is None]
    if unused:
        yield f"every parameter of the {name} is used, but {unused} are not: leave them out."
    broken = [
        path
        for (path, _), g in zip(named, gradients, strict=True)
        if g is not None and not g.isfinite().all()
    ]
    if broken:
        yield f"gradients of the {name} are finite, but those of {broken} are not."


def _range(name: str, output: Tensor) -> Iterator[str]:
    """Check that no activation bounds the last layer's output."""
    if not output.isfinite().all():
        yield f"the {name}'s output is finite, not {shown(output)}."
    elif output.numel() >= 8 and (output >= 0).all():
        yield (
            f"the {name}'s output may have either sign, but is {shown(output)}: leave out the last "
            "activation (a likelihood reads logits, and a mean may be negative)."
        )


def _repeats(name: str, network: nn.Module, x: Tensor) -> Iterator[str]:
    """Check that in evaluation mode an example's output depends only on the example."""
    with torch.no_grad():
        whole, again = network(x), network(x)
        alone = torch.cat([network(x[index : index + 1]) for index in range(len(x))])
    if not torch.equal(whole, again):
        yield f"the {name} repeats itself in evaluation mode: draw random numbers in training only."
    elif not is_close(whole, alone):
        yield (
            f"in evaluation mode the {name}'s output for an example depends on it alone, but a "
            f"batch gives {shown(whole)} and its examples alone {shown(alone)}: normalise over "
            "features, or by running statistics."
        )
