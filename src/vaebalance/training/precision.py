"""Choose precision, compilation and number of threads for the terms of a training batch.

Only the networks run in bf16: their matrix products and convolutions, and the layers that condition
them on β. Their outputs are converted to float32, so log-probabilities, rates, sums and the
optimizer's weights stay float32. Validation and evaluation always use float32 without compilation.
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
"""Function with the signature of `elbo_terms`."""

BF16_WORK = 40_000_000
"""Multiply–accumulate operations of a step's forward pass from which bf16 is faster. In a smaller
step the overhead of calling operations dominates, and bf16 calls more of them. (Speed-up on one
thread of a shared CPU: 1.2 for 8×8 images in batches of 512, 52 million; none for 28×28 images in
batches of 64, 30 million.)"""


COMPILED_STEPS = 10_000
"""Number of steps from which a compiled training is faster, including the time to compile. (One
thread of a shared CPU. With an empty cache, 17 s to compile: 6,000 for 784-512-256-16, 9,000 for
784-400-20, 19,000 for 8×8 images. With the graph in the cache, 2 s: 800 to 2,800.)"""

COMPILED_CUDA_STEPS = 50_000
"""The same on a CUDA device, where a step that is not compiled is recorded. (On an H100 compiling
takes 10 s and saves 0.2 ms per step.)"""

THREADS_WORK = 30_000_000
"""Multiply–accumulate operations of a step's forward pass from which a step uses more than one
thread. In a smaller step threads wait for each other longer than they compute. (Two threads of a
busy CPU; steps on one and on two threads in turn, the fastest of about a hundred each. Time on one
thread relative to two: 0.4 to 0.9 at 0.6 to 26 million, fully connected, and 0.3 to 0.6 with
convolutions; 0.9 at 42 and 84 million, where more cores may be faster; 1.6 at 138 million. By the
median one thread was faster everywhere, since threads also wait for other processes.)"""

THREADS_VARIABLE = "OMP_NUM_THREADS"

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def is_compiled(wanted: Compile, model: nn.Module, steps: int) -> bool:
    """Return whether to compile the training step.

    The choice depends on settings and device, not on timings: a compiled step rounds differently,
    and the same settings must give the same numbers. On a CPU convolutions take nearly all of a
    step's time, and compiling speeds up those of 28×28 images by at most a tenth and slows down
    those of 64×64 images.

    Args:
        wanted: `train.compile`.
        model: model to train, on its device.
        steps: planned number of steps.
    """
    if wanted != "auto":
        return wanted == "on"
    if next(model.parameters()).is_cuda:
        return steps >= COMPILED_CUDA_STEPS
    convolves = any(isinstance(layer, CONVOLUTIONS) for layer in model.modules())
    return steps >= COMPILED_STEPS and not convolves


def uses_bf16(wanted: Precision, device: torch.device, work: int) -> bool:
    """Return whether the networks run in bf16.

    Args:
        wanted: `train.precision`.
        device: device of the training.
        work: multiply–accumulate operations of a step's forward pass.
    """
    if wanted != "auto":
        return wanted == "bf16"
    return work >= BF16_WORK and has_bf16(device)


def choose_threads(work: int, device: torch.device) -> int | None:
    """Return the number of CPU threads for a training; None: all.

    The choice depends on the settings, not on timings: another number of threads may round
    differently, and the same settings must give the same numbers. `OMP_NUM_THREADS` takes
    precedence.

    Args:
        work: multiply–accumulate operations of a step's forward pass.
        device: device of the training.
    """
    if device.type != "cpu" or THREADS_VARIABLE in os.environ:
        return None
    return 1 if work < THREADS_WORK else None


def has_bf16(device: torch.device) -> bool:
    """Return whether the device supports bf16 matrix products in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return False


def bf16_terms(model: EncoderDecoder, x: Tensor) -> ElboTerms:
    """Compute `elbo_terms` with the networks in bf16."""
    with torch.autocast(x.device.type, torch.bfloat16):
        return elbo_terms(model, x)


def make_terms(wanted: Precision, model: VAE, batch_size: int) -> Terms:
    """Return the function that computes the terms: in the wanted precision, or the faster one."""
    work = work_of(model, batch_size)
    return bf16_terms if uses_bf16(wanted, model.prior_mean.device, work) else elbo_terms


def name_of(terms: Terms) -> str:
    """Return the name of the precision in which `terms` runs the networks."""
    return "bf16" if terms is bf16_terms else "fp32"


def work_of(model: VAE, batch_size: int) -> int:
    """Return the multiply–accumulate operations of a step's forward pass."""
    return batch_size * multiplications(model)


@torch.no_grad()
def multiplications(model: VAE) -> int:
    """Return the multiply–accumulate operations of one example's forward pass."""
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # A strided convolution applies its weights once at each position of its smaller side.
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
