"""The VAE. Its encode and decode return distributions, never a (mu, logvar) pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.distributions.kl import register_kl

from vaebalance.base.specs import Spec
from vaebalance.vae.likelihoods import AbstractLikelihood
from vaebalance.vae.networks import Architecture, ImageShape, widened

LOG_VARIANCE_RANGE = (-20.0, 20.0)
"""Bounds of the posterior's log σ²; beyond them exp overflows float32 within a few steps."""


class ModelSpec(Spec):
    """The `model` section of params.yaml."""

    architecture: Architecture
    """Networks of the encoder and the decoder."""
    latent_size: int = Field(ge=1)
    """Z, the number of latents."""
    posterior: Literal["gaussian", "deterministic"]
    """gaussian: a VAE; deterministic: a plain autoencoder (a code without sampling or KL)."""


class Delta(Distribution):
    """A point mass at `mean`: the posterior of a plain autoencoder."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, mean: Tensor) -> None:
        super().__init__(batch_shape=mean.shape, validate_args=False)
        self._mean = mean

    @property
    def mean(self) -> Tensor:
        """The code."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self._mean)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Repeat the code: [*sample_shape, B, Z]."""
        return self._mean.expand(*sample_shape, *self._mean.shape)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> Delta:
        """Return the same point for a larger batch."""
        return Delta(self._mean.expand(*batch_shape))


@register_kl(Delta, Normal)  # type: ignore[untyped-decorator]
def _no_rate(code: Delta, prior: Normal) -> Tensor:
    """Return R = 0: the autoencoder's loss has no KL term (the true KL is infinite)."""
    return torch.zeros_like(code.mean)


class VAE(nn.Module):
    """q(z|x), p(x|z) and the standard normal prior p(z) over Z latents."""

    def __init__(
        self, spec: ModelSpec, likelihood: AbstractLikelihood, image_shape: ImageShape
    ) -> None:
        super().__init__()
        self.spec = spec
        self.likelihood = likelihood
        self.image_shape = image_shape
        self.latent_size = spec.latent_size
        self.is_variational = spec.posterior == "gaussian"
        features = spec.latent_size * (2 if self.is_variational else 1)
        self.encoder = spec.architecture.encoder(image_shape, features)
        channels, height, width = image_shape
        raw_shape = (likelihood.raw_channels(channels), height, width)
        self.decoder = spec.architecture.decoder(spec.latent_size, raw_shape)
        self.likelihood_parameters = likelihood.make_parameters()
        self.register_buffer("prior_mean", torch.zeros(spec.latent_size), persistent=False)
        self.register_buffer("prior_scale", torch.ones(spec.latent_size), persistent=False)
        self.prior_mean: Tensor
        self.prior_scale: Tensor

    @property
    def prior(self) -> Independent[Distribution]:
        """p(z), event [Z]."""
        return _independent(Normal(self.prior_mean, self.prior_scale, validate_args=False))

    def encode(self, x: Tensor) -> Independent[Distribution]:
        """Map pixels [B, C, H, W] in [0, 1] to q(z|x), event [Z]."""
        return self.posterior(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Map pixels [B, C, H, W] in [0, 1] to the encoder's output, [B, features]."""
        return widened(self.encoder(x))

    def posterior(self, features: Tensor) -> Independent[Distribution]:
        """Read the encoder's output [B, features] as q(z|x)."""
        if not self.is_variational:
            return _independent(Delta(features))
        mean, log_variance = features.chunk(2, dim=-1)
        scale = (0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE)).exp()
        return _independent(Normal(mean, scale, validate_args=False))

    def decode(self, z: Tensor) -> Distribution:
        """Map z [..., Z] to p(x|z), event [C, H, W]."""
        raw = widened(self.decoder(z.flatten(0, -2)))
        return self.read(raw.unflatten(0, z.shape[:-1]))

    def read(self, raw: Tensor) -> Distribution:
        """Read the decoder's output [..., channels, H, W] as p(x|z)."""
        return self.likelihood.distribution(raw, self.likelihood_parameters)


def _independent(distribution: Distribution) -> Independent[Distribution]:
    return Independent(distribution, 1, validate_args=False)
