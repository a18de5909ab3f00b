"""How the terms of a training batch are computed: in which precision, compiled, on which threads.

bf16 is for the networks' matrix products and convolutions, and what β does to them, alone: what
they put out is read as float32, so that log-probabilities, rates, sums and the optimizer's weights
stay float32. Measuring (validation, evaluation) is float32 and not compiled, whatever the training
is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vaebalance.vae.elbo import ElboTerms, EncoderDecoder, elbo_terms
from vaebalance.vae.model import VAE

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["auto", "on", "off"]

Terms = Callable[[EncoderDecoder, Tensor], ElboTerms]
"""As `elbo_terms`."""

BF16_WORK = 40_000_000
"""Multiplications of a step's forward pass from which bf16 pays: a smaller step waits for its
operations to be called, and bf16 calls more of them. (One thread of a shared processor; on 8×8
images at batch 512, 52 million, 1.2 times; on 28×28 at batch 64, 30 million, nothing.)"""


COMPILED_STEPS = 10_000
"""Steps from which a compiled training is the faster one, its compilation included: with an empty
cache (17 s) 6,000 (784-512-256-16) to 9,000 (784-400-20) and 19,000 (8×8 images), with the graph in
the cache (2 s) 800 to 2,800. (One thread of a shared processor.)"""

COMPILED_CUDA_STEPS = 50_000
"""The same on a CUDA device, where a step that is not compiled is recorded. (An H100: 10 s against
0.2 ms a step.)"""

THREADS_WORK = 30_000_000
"""Multiplications of a step's forward pass from which more threads than one are used: those of a
smaller step wait for each other longer than they compute. (Two threads of a busy processor, steps
on one and on both in turn, the fastest of some hundred each: one thread took 0.4 to 0.9 of the time
at 0.6 to 26 million, fully connected, 0.3 to 0.6 with convolutions; 0.9 at 42 and 84 million, where
more cores may pay; 1.6 at 138 million. By the median it was ahead everywhere, since threads also
wait for the other processes.)"""

THREADS_VARIABLE = "OMP_NUM_THREADS"

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def is_compiled(wanted: Compile, model: nn.Module, steps: int) -> bool:
    """Whether the training step is to be compiled.

    By the settings and the device alone and not by the clock: a compiled step rounds otherwise, and
    the same settings must give the same numbers. On a processor convolutions take nearly all of a
    step's time: compiled, those of 28×28 are up to a tenth faster and those of 64×64 slower.

    Args:
        wanted: `train.compile`.
        model: that is trained, on its device.
        steps: planned.
    """
    if wanted != "auto":
        return wanted == "on"
    if next(model.parameters()).is_cuda:
        return steps >= COMPILED_CUDA_STEPS
    convolves = any(isinstance(layer, CONVOLUTIONS) for layer in model.modules())
    return steps >= COMPILED_STEPS and not convolves


def uses_bf16(wanted: Precision, device: torch.device, work: int) -> bool:
    """Whether the networks multiply in bf16.

    Args:
        wanted: `train.precision`.
        device: of the training.
        work: multiplications of a step's forward pass.
    """
    if wanted != "auto":
        return wanted == "bf16"
    return work >= BF16_WORK and has_bf16(device)


def choose_threads(work: int, device: torch.device) -> int | None:
    """Threads of the processor that such steps are computed on; None: all that there are.

    By the settings alone and not by the clock: another number of threads may round otherwise, and
    the same settings must give the same numbers. What a user has set in `OMP_NUM_THREADS` stands.

    Args:
        work: multiplications of a step's forward pass.
        device: of the training.
    """
    if device.type != "cpu" or THREADS_VARIABLE in os.environ:
        return None
    return 1 if work < THREADS_WORK else None


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware, not by way of float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return False


def bf16_terms(model: EncoderDecoder, x: Tensor) -> ElboTerms:
    """`elbo_terms` with the networks in bf16."""
    with torch.autocast(x.device.type, torch.bfloat16):
        return elbo_terms(model, x)


def make_terms(wanted: Precision, model: VAE, batch_size: int) -> Terms:
    """The computation that `train.precision` asks for, or that pays for such batches."""
    work = work_of(model, batch_size)
    return bf16_terms if uses_bf16(wanted, model.prior_mean.device, work) else elbo_terms


def name_of(terms: Terms) -> str:
    """Of the precision that the networks multiply in."""
    return "bf16" if terms is bf16_terms else "fp32"


def work_of(model: VAE, batch_size: int) -> int:
    """Multiplications of a step's forward pass."""
    return batch_size * multiplications(model)


@torch.no_grad()
def multiplications(model: VAE) -> int:
    """Of weights with what they act on, for one image through encoder and decoder."""
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # A strided convolution's weights act once at each place of its smaller side.
        places = min(inputs[0].shape[2:].numel(), output.shape[2:].numel())
        counts.append(places * sum(p.numel() for p in layer.parameters(recurse=False)))

    handles = [
        module.register_forward_hook(count)
        for module in model.modules()
        if isinstance(module, (nn.Linear, *CONVOLUTIONS))
    ]
    try:
        image = torch.zeros(1, *model.image_shape, device=model.prior_mean.device)
        model.decode(model.encode(image).mean)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)
