"""Means and variances of the posteriors of a split, and which latents are active."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.evaluation.measured_images import MeasuredImages, gathered
from vaebalance.vae.model import VAE


@dataclass(frozen=True)
class PosteriorMoments:
    """Means and standard deviations of q(z|x), on the CPU."""

    mean: Tensor  # [N, Z] float32; for a plain autoencoder the code
    std: Tensor  # [N, Z] float32; for a plain autoencoder 0

    @property
    def variance_of_mean(self) -> Tensor:
        """Var_x(E[z_j|x]) over the split, [Z] float64."""
        return self.mean.double().var(0, correction=0)

    @property
    def aggregate_mean(self) -> Tensor:
        """Mean of the aggregate posterior of these images, [Z] float64."""
        return self.mean.double().mean(0)

    @property
    def aggregate_covariance(self) -> Tensor:
        """Covariance of the aggregate posterior, Cov_x(E[z|x]) + E_x(Cov[z|x]): [Z, Z] float64."""
        centred = self.mean.double() - self.aggregate_mean
        within = self.std.double().square().mean(0).diag()
        return centred.T @ centred / len(centred) + within

    @property
    def rate(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) of each image, [N] float64 nats."""
        mean, variance = self.mean.double(), self.std.double().square()
        return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1)

    def sample(self, seed: int) -> Tensor:
        """Draw one code z ~ q(z|x) for each image: [N, Z] float64."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.mean.shape, generator=generator, dtype=torch.float64)
        return self.mean.double() + self.std.double() * noise

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: Tensor | slice) -> PosteriorMoments:
        """Select the moments of some images."""
        return PosteriorMoments(self.mean[index], self.std[index])


@torch.inference_mode()
def posterior_moments(model: VAE, images: MeasuredImages, *, batch_size: int) -> PosteriorMoments:
    """Compute mean and standard deviation of q(z|x) for each image."""

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        for _, posterior in images.encoded_blocks(model, batch_size, "posterior moments"):
            yield posterior.mean.cpu(), posterior.variance.sqrt().cpu()

    return PosteriorMoments(*gathered(blocks(), len(images)))


def active_units(moments: PosteriorMoments, threshold: float) -> Tensor:
    """Return which latents have Var_x(E[z_j|x]) > threshold (Burda et al. 2016): [Z] bool.

    For a plain autoencoder this is the variance of the code, whose scale no prior fixes: zeros are
    dead latents, but the counts of two autoencoders are only roughly comparable.
    """
    return moments.variance_of_mean > threshold
