"""A likelihood that is no density is scored with a Gaussian in its place."""

from __future__ import annotations

import copy
import math

import torch

from vaebalance.errors import UserError
from vaebalance.evaluation.bounds import blocks_with_seeds
from vaebalance.evaluation.images import MeasuredImages
from vaebalance.likelihoods import AbstractLikelihood
from vaebalance.model import VAE
from vaebalance.randomness import forked


def calibrated_sigma(
    model: VAE, validation: MeasuredImages, *, batch_size: int, seed: int
) -> float:
    """σ of the Gaussian about the reconstructions that fits the validation split best.

    σ² is the mean squared error of a pixel over reconstructions from z ~ q(z|x), where the
    Gaussian's distortion is least. Fitted on test images it would flatter the model.

    Raises:
        UserError: the reconstructions are exact, or no numbers, so no σ fits.
    """
    error = mean_squared_error(model, validation, batch_size=batch_size, seed=seed)
    if not (math.isfinite(error) and error > 0):
        raise UserError(
            f"likelihood: {model.likelihood} is no density, so it is scored with a Gaussian "
            f"fitted to the validation reconstructions, whose mean squared error is {error}; it "
            "must be finite and above 0. Train again with likelihood.kind = gaussian or bernoulli."
        )
    return math.sqrt(error)


def with_likelihood(model: VAE, likelihood: AbstractLikelihood) -> VAE:
    """`model` with another reading of the decoder's output; the weights are shared.

    Raises:
        ValueError: the other likelihood has trained parameters, or wants other decoder outputs.
    """
    channels = model.image_shape[0]
    outputs = [reader.raw_channels(channels) for reader in (model.likelihood, likelihood)]
    if outputs[0] != outputs[1] or likelihood.make_parameters().state_dict():
        raise ValueError(f"{likelihood!r} cannot read a decoder made for {model.likelihood!r}")
    other = copy.copy(model)
    other.likelihood = likelihood
    return other


@torch.inference_mode()
def mean_squared_error(model: VAE, images: MeasuredImages, *, batch_size: int, seed: int) -> float:
    """Of a pixel, between images and the mean of p(x|z), one z ~ q(z|x) for each image."""
    errors = []
    for x, noise_seed in blocks_with_seeds(model, images, batch_size, seed, "calibration"):
        with forked(noise_seed):
            z = model.encode(x).rsample()
        errors.append((model.decode(z).mean - x).square().flatten(1).mean(1).cpu().double())
    return float(torch.cat(errors).mean())
