"""Distortion, rate, and the one loss: weighted loss = α·D + β·R.

Everything is in nats per image: summed over an image's dimensions, averaged over images. Nothing
else anywhere: `reduction="mean"` would divide D by the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from vaebalance.vae.likelihoods import IMAGE_DIMENSIONS


class EncoderDecoder(Protocol):
    """A model that has terms: a `model.VAE`, or one conditioned on more than the image."""

    @property
    def prior(self) -> Independent[Distribution]:
        """p(z), event [Z]."""

    def encode(self, x: Tensor) -> Independent[Distribution]:
        """[B, C, H, W] -> q(z|x), event [Z]."""

    def decode(self, z: Tensor) -> Distribution:
        """[..., B, Z] -> p(x|z), event [C, H, W]."""


@dataclass(frozen=True)
class ElboTerms:
    """The two halves of the bound for a batch, one posterior sample per image.

    The terms of stacked models (see `stacking`) have the dimension of the models before the batch.
    """

    distortion: Tensor  # [B] nats: −log p(x|z), z ~ q(z|x)
    rate_by_latent: Tensor  # [B, Z] nats: KL(q(z_j|x) ‖ p(z_j))
    likelihood: Distribution | None = None  # p(x|z), event [C, H, W]
    x: Tensor | None = None  # [B, C, H, W]
    posterior: Independent[Distribution] | None = None  # q(z|x), event [Z]
    z: Tensor | None = None  # [B, Z], its sample
    betas: Tensor | None = None  # [B], the β that a conditioned model had for each image

    @property
    def rate(self) -> Tensor:
        """[B] nats: KL(q(z|x) ‖ p(z))."""
        return self.rate_by_latent.sum(-1)

    @property
    def negative_elbo(self) -> Tensor:
        """[B] nats: D + R, always with α = β = 1."""
        return self.distortion + self.rate

    @property
    def squared_error(self) -> Tensor:
        """[B]: ‖x − E[x|z]‖², summed over the image. A measurement, without a graph.

        Computed when asked for, so that it costs nothing to whoever does not ask.

        Raises:
            ValueError: the terms were made without `likelihood` and `x`.
        """
        return self._squared_errors().sum(-1)

    @property
    def mean_squared_error(self) -> Tensor:
        """[B]: the same, averaged over the image."""
        return self._squared_errors().mean(-1)

    @property
    def predicted_variance(self) -> Tensor:
        """[B]: Var[x|z], averaged over the image: what p(x|z) expects of the squared error.

        A measurement, as `squared_error` is.
        """
        if self.likelihood is None:
            raise ValueError("predicted_variance needs terms made with likelihood")
        with torch.no_grad():
            return self.likelihood.variance.flatten(-IMAGE_DIMENSIONS).mean(-1)

    @property
    def posterior_variance(self) -> Tensor:
        """[B, Z]: Var[z_j|x]. A measurement, as `squared_error` is."""
        if self.posterior is None:
            raise ValueError("posterior_variance needs terms made with posterior")
        return self.posterior.variance.detach()

    @torch.no_grad()
    def _squared_errors(self) -> Tensor:
        """[B, n]"""
        if self.likelihood is None or self.x is None:
            raise ValueError("squared_error needs terms made with likelihood and x")
        return (self.x - self.likelihood.mean).square().flatten(-IMAGE_DIMENSIONS)

    def detach(self) -> ElboTerms:
        """The same numbers without their graph."""
        return replace(
            self, distortion=self.distortion.detach(), rate_by_latent=self.rate_by_latent.detach()
        )


class Weights(NamedTuple):
    """What a balance sets at a step."""

    alpha: float | Tensor  # [], or [B] of each image; ≥ 0
    beta: float | Tensor  # [], [Z], or [B, 1] of each image; negative where more rate is wanted


def elbo_terms(model: EncoderDecoder, x: Tensor) -> ElboTerms:
    """D and R of a batch x [B, C, H, W] in [0, 1], by one reparametrised sample of q(z|x)."""
    posterior = model.encode(x)
    z = posterior.rsample()
    likelihood = model.decode(z)
    rates = rate_by_latent(posterior, model.prior)
    return ElboTerms(-likelihood.log_prob(x), rates, likelihood, x, posterior, z)


def rate_by_latent(
    posterior: Independent[Distribution], prior: Independent[Distribution]
) -> Tensor:
    """[B, Z] nats: KL(q(z_j|x) ‖ p(z_j)), in closed form; both factorise over latents."""
    return kl_divergence(posterior.base_dist, prior.base_dist)


def weighted_terms(terms: ElboTerms, weights: Weights) -> tuple[Tensor, Tensor]:
    """(α·D, β·R) averaged over the batch, each []."""
    alpha, beta, rates = weights.alpha, weights.beta, terms.rate_by_latent
    if isinstance(alpha, Tensor) and alpha.ndim == 1:  # of each image
        weighted_distortion = (alpha * terms.distortion).mean()
    else:
        weighted_distortion = alpha * terms.distortion.mean()
    if isinstance(beta, Tensor) and beta.ndim == 2:  # of each image
        return weighted_distortion, (beta * rates).sum(1).mean()
    weighted_rate = (beta * rates.mean(0)).sum()
    return weighted_distortion, weighted_rate


def weighted_loss(terms: ElboTerms, weights: Weights) -> Tensor:
    """α·D + β·R, []: minimised in training, never reported as an ELBO."""
    weighted_distortion, weighted_rate = weighted_terms(terms, weights)
    return weighted_distortion + weighted_rate
