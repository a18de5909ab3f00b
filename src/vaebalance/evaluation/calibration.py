"""The Gaussian that makes models of any likelihood, α and β comparable.

Its mean is the decoder's, the mean of p(x|z), and its σ is fitted to validation images after
training: what is left is what encoder and decoder have learnt, whatever loss has taught it to them.
A likelihood that is no density has no other nats than these.
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
    """Scores images as N(mean of p(x|z), σ²I): a `Score`."""

    sigma: float
    """In pixel values."""

    def __call__(self, likelihood: Distribution, x: Tensor) -> Tensor:
        """−‖x − E[x|z]‖²/(2σ²) − (n/2)·log(2πσ²), [S, B] nats."""
        squared_error = (likelihood.mean - x).square_().flatten(-3).sum(-1)
        constant = 0.5 * x[0].numel() * math.log(2 * math.pi * self.sigma**2)
        return squared_error.mul_(-0.5 / self.sigma**2).sub_(constant)


def calibrate(
    model: VAE, validation: MeasuredImages, *, batch_size: int, seed: int
) -> CalibratedGaussian:
    """The Gaussian whose distortion on the validation split is least.

    Its σ² is the mean squared error of a pixel over reconstructions from z ~ q(z|x). Fitted on
    test images it would flatter the model.

    Raises:
        UserError: the reconstructions are exact, or no numbers, so no σ fits.
    """
    error = mean_squared_error(model, validation, batch_size=batch_size, seed=seed)
    if not (math.isfinite(error) and error > 0):
        raise UserError(
            f"likelihood {model.likelihood!r}: models are compared by a Gaussian fitted to the "
            f"validation reconstructions, whose mean squared error is {error}; it must be finite "
            "and above 0. Train again with a lower train.learning_rate, or, where all images are "
            "the same, with others."
        )
    return CalibratedGaussian(math.sqrt(error))


@torch.inference_mode()
def mean_squared_error(model: VAE, images: MeasuredImages, *, batch_size: int, seed: int) -> float:
    """Of a pixel, between images and the mean of p(x|z), one z ~ q(z|x) for each image."""

    def blocks() -> Iterator[tuple[Tensor]]:
        blocks = blocks_with_seeds(model, images, batch_size, seed, "calibration")
        for x, posterior, noise_seed in blocks:
            with forked(noise_seed):
                z = posterior.rsample()
            error = (model.decode(z).mean - x).square().flatten(1).mean(1)
            yield (error.cpu().double(),)

    (errors,) = gathered(blocks(), len(images))
    return float(errors.mean())
