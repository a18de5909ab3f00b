"""Bounds on log p(x): the parts of the ELBO, and the importance-weighted nll. Nats per image.

The numbers depend on the seed, the number of samples, the images and their order, and the kind of
device, whose generator draws the noise. Noise is drawn for blocks of a fixed size, so `batch_size`
only divides the work: from `IMAGES_A_BLOCK` upwards it changes rounding at most. A smaller one
becomes the block size and gives another draw of the same estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from vaebalance.base.seeds import derive_seed, forked
from vaebalance.evaluation.measured_images import MeasuredImages, gathered
from vaebalance.vae.elbo import rate_by_latent
from vaebalance.vae.likelihoods import AbstractLikelihood
from vaebalance.vae.model import VAE

IMAGES_A_BLOCK = 64
SAMPLES_A_BLOCK = 256

Score = Callable[[Distribution, Tensor], Tensor]
"""p(x|z) with batch shape [S, B], and images [B, C, H, W] -> log p(x|z), [S, B] nats."""


def own_score(likelihood: Distribution, x: Tensor) -> Tensor:
    """Score images by the model's own likelihood."""
    log_p: Tensor = likelihood.log_prob(x)
    return log_p


@dataclass(frozen=True)
class ElboParts:
    """The parts of the ELBO, averaged over a split; nats per image."""

    distortion: float
    rate_by_latent: Tensor  # [Z] float64

    @property
    def rate(self) -> float:
        """R = KL(q(z|x) ‖ p(z))."""
        return float(self.rate_by_latent.sum())

    @property
    def negative_elbo(self) -> float:
        """D + R."""
        return self.distortion + self.rate


@dataclass(frozen=True)
class ImportanceWeighted:
    """The K-sample bound of each image."""

    nll: Tensor  # [N] float64, nats
    effective_sample_size: Tensor  # [N] float64, from 1 to K

    @property
    def mean(self) -> float:
        """The mean bound, in nats per image."""
        return float(self.nll.mean())

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean, as an estimate for the population of images.

        It leaves out the bound's own bias, which falls with K. None for a single image.
        """
        if len(self.nll) < 2:
            return None
        return float(self.nll.std() / math.sqrt(len(self.nll)))


def distortion_draws(images: int) -> int:
    """Return how many draws of q(z|x) estimate each image's D: 16, down to 4 from 2,048 images.

    The noise of the draws stays small beside the spread of the images, which draws cannot reduce:
    on 10,000 images of MNIST (β = 1) 4 draws have a noise of 0.03 nats, while the standard error of
    the mean is 0.4. For fewer images the ratio is no larger.
    """
    return min(16, max(4, -(-8192 // images)))


@torch.inference_mode()
def elbo_parts(
    model: VAE,
    images: MeasuredImages,
    *,
    samples: int,
    batch_size: int,
    seed: int,
    score: Score = own_score,
) -> ElboParts:
    """Estimate D from `samples` draws of q(z|x) for each image, and compute R in closed form."""
    purpose = "distortion and rate"

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        blocks = blocks_with_seeds(model, images, batch_size, seed, purpose)
        for x, posterior, noise_seed in blocks:
            with forked(noise_seed):
                z = posterior.rsample(torch.Size([samples]))
            (log_p,) = log_likelihoods(model, x, z, batch_size, [score])
            rates = rate_by_latent(posterior, model.prior)
            yield -log_p.cpu().double().mean(0), rates.cpu().double()

    distortions, rates = gathered(blocks(), len(images))
    return ElboParts(float(distortions.mean()), rates.mean(0))


def importance_weighted_nll(
    model: VAE, images: MeasuredImages, *, samples: int, batch_size: int, seed: int
) -> ImportanceWeighted:
    """Estimate the importance-weighted nll of each image (Burda et al. 2016).

    It is −log 1/K Σ_k p(x|z_k)·p(z_k)/q(z_k|x) with z_k ~ q(z|x): in expectation an upper bound on
    −log p(x), tighter for larger K. Memory is bounded for any K and number of images: at most
    `batch_size` images are decoded at once.

    Args:
        model: must be variational.
        images: the split.
        samples: K.
        batch_size: images decoded at once.
        seed: seed of the posterior samples.
    """
    (estimate,) = importance_weighted_nlls(
        model, images, [own_score], samples=samples, batch_size=batch_size, seed=seed
    )
    return estimate


@torch.inference_mode()
def importance_weighted_nlls(
    model: VAE,
    images: MeasuredImages,
    scores: Sequence[Score],
    *,
    samples: int,
    batch_size: int,
    seed: int,
) -> list[ImportanceWeighted]:
    """Estimate `importance_weighted_nll` under each of several scores of the same decoded codes.

    Most of the time goes into decoding K codes of every image; another score costs little.
    """
    purpose = "importance-weighted nll"

    def blocks() -> Iterator[tuple[Tensor, ...]]:
        blocks = blocks_with_seeds(model, images, batch_size, seed, purpose)
        for x, posterior, noise_seed in blocks:
            with forked(noise_seed):
                log_weights = _log_weights(model, x, posterior, scores, samples, batch_size)
            yield tuple(part for of_score in log_weights for part in summarise(of_score))

    parts = gathered(blocks(), len(images))  # nll and effective sample size, score after score
    return [ImportanceWeighted(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def summarise(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Reduce log weights log p(x, z_k)/q(z_k|x) [K, B] to the nll and the effective sample size.

    Returns:
        The nll [B], and the effective sample size (Σw)²/Σw² [B].
    """
    log_sum = log_weights.logsumexp(0)
    effective_sample_size = (2 * log_sum - (2 * log_weights).logsumexp(0)).exp()
    return math.log(len(log_weights)) - log_sum, effective_sample_size


def log_likelihoods(
    model: VAE, x: Tensor, z: Tensor, batch_size: int, scores: Sequence[Score]
) -> Tensor:
    """Score images x [B, C, H, W] under each code of z [S, B, Z], decoded once: [scores, S, B]."""
    scored = []
    for chunk in z.split(max(1, batch_size // len(x))):
        likelihood = model.decode(chunk)
        scored.append(torch.stack([score(likelihood, x) for score in scores]))
    return torch.cat(scored, 1)


def bits_per_dim(
    nll: float, likelihood: AbstractLikelihood, *, binarised: bool, dimensions: int
) -> float | None:
    """Divide the nll by n·ln 2 if p(x|z) is a probability mass; None otherwise."""
    if not likelihood.is_mass(binarised=binarised):
        return None
    return nll / (dimensions * math.log(2))


def _log_weights(
    model: VAE,
    x: Tensor,
    posterior: Independent[Distribution],
    scores: Sequence[Score],
    samples: int,
    batch_size: int,
) -> Tensor:
    """Compute log p(x|z_k) + log p(z_k) − log q(z_k|x): [scores, K, B] float64, on the CPU.

    (MPS has no float64. Even at K = 100,000 these are 51 MB per score.)
    """
    prior = model.prior
    log_weights = []
    for start in range(0, samples, SAMPLES_A_BLOCK):
        z = posterior.rsample(torch.Size([min(SAMPLES_A_BLOCK, samples - start)]))
        log_ratio = prior.log_prob(z) - posterior.log_prob(z)
        log_p = log_likelihoods(model, x, z, batch_size, scores)
        log_weights.append(log_p.cpu().double() + log_ratio.cpu().double())
    return torch.cat(log_weights, 1)


def blocks_with_seeds(
    model: VAE, images: MeasuredImages, batch_size: int, seed: int, purpose: str
) -> Iterator[tuple[Tensor, Independent[Distribution], int]]:
    """Iterate over blocks of images: pixels [B, C, H, W], q(z|x) and a noise seed for `purpose`."""
    size = min(IMAGES_A_BLOCK, batch_size)
    blocks = images.encoded_blocks(model, size, purpose)
    for number, (x, posterior) in enumerate(blocks):
        yield x, posterior, derive_seed(seed, purpose, number)
