"""A Gaussian that makes models of any likelihood, α and β comparable.

Its mean is that of p(x|z), and its σ is fitted to validation images after training. So it compares
what encoder and decoder learned, whatever the loss that trained them. Likelihoods that are not
densities are measured in nats only by this Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaebalance.base.errors import UserError
from vaebalance.base.seeds import forked
from vaebalance.evaluation.bounds import blocks_with_seeds
from vaebalance.evaluation.measured_images import MeasuredImages, gathered
from vaebalance.vae.model import VAE


@dataclass(frozen=True)
class CalibratedGaussian:
    """A `Score` that evaluates images under N(mean of p(x|z), σ²I)."""

    sigma: float
    """Standard deviation in pixel values."""

    def __call__(self, likelihood: Distribution, x: Tensor) -> Tensor:
        """Compute −‖x − E[x|z]‖²/(2σ²) − (n/2)·log(2πσ²), [S, B] nats."""
        squared_error = (likelihood.mean - x).square_().flatten(-3).sum(-1)
        constant = 0.5 * x[0].numel() * math.log(2 * math.pi * self.sigma**2)
        return squared_error.mul_(-0.5 / self.sigma**2).sub_(constant)


def calibrate(
    model: VAE, validation: MeasuredImages, *, batch_size: int, seed: int
) -> CalibratedGaussian:
    """Fit the Gaussian that minimises the distortion on the validation split.

    Its σ² is the mean squared error of a pixel over reconstructions from z ~ q(z|x). Fitting it to
    test images would favour the model.

    Raises:
        UserError: the reconstructions are exact or not finite, so no σ fits.
    """
    error = mean_squared_error(model, validation, batch_size=batch_size, seed=seed)
    if not (math.isfinite(error) and error > 0):
        raise UserError(
            f"likelihood {model.likelihood!r}: models are compared by a Gaussian fitted to the "
            f"validation reconstructions, whose mean squared error is {error}; it must be finite "
            "and above 0. Train again with a lower train.learning_rate or, if all images are "
            "equal, with other images."
        )
    return CalibratedGaussian(math.sqrt(error))


@torch.inference_mode()
def mean_squared_error(model: VAE, images: MeasuredImages, *, batch_size: int, seed: int) -> float:
    """Average a pixel's squared error against the mean of p(x|z), one z ~ q(z|x) per image."""

    def blocks() -> Iterator[tuple[Tensor]]:
        blocks = blocks_with_seeds(model, images, batch_size, seed, "calibration")
        for x, posterior, noise_seed in blocks:
            with forked(noise_seed):
                z = posterior.rsample()
            error = (model.decode(z).mean - x).square().flatten(1).mean(1)
            yield (error.cpu().double(),)

    (errors,) = gathered(blocks(), len(images))
    return float(errors.mean())
