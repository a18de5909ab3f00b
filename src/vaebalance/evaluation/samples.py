"""Decoded prior samples against test images in a feature space.

Each number is compared with its floor: the same number for training images instead of samples,
which a model with the data's own distribution would reach with as many images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed, forked
from vaebalance.evaluation.bounds import IMAGES_A_BLOCK
from vaebalance.evaluation.neighbours import overlap
from vaebalance.evaluation.prior_match import prior_draws
from vaebalance.vae.likelihoods import AbstractLikelihood
from vaebalance.vae.model import VAE


@dataclass(frozen=True)
class SampleQuality:
    """How candidates compare with reference images."""

    frechet: float
    """Distance of the Gaussians fitted to both sets of features, ≥ 0; biased upwards for few
    images."""
    precision: float
    recall: float
    density: float
    coverage: float


def sample_quality(reference: Tensor, candidates: Tensor) -> SampleQuality:
    """Compare candidates' features [M, F] with the reference's [N, F].

    Raises:
        ValueError: either has fewer than two images.
    """
    overlaps = overlap(reference, candidates)
    if overlaps is None:
        raise ValueError(f"{len(candidates)} and {len(reference)} images: two of each are needed")
    return SampleQuality(frechet=frechet_distance(reference, candidates), **vars(overlaps))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Compute ‖μ_a − μ_b‖² + tr(A + B − 2·(AB)^½) of a [N, F], b [M, F] (Heusel et al. 2017).

    With A = R_aᵀ R_a, and B likewise, tr (AB)^½ is the sum of the singular values of R_a R_bᵀ. This
    needs neither covariances of full rank nor the root of an asymmetric matrix.
    """
    roots = [_root_of_covariance(points) for points in (a, b)]
    shift = float((a.mean(0) - b.mean(0)).square().sum())
    traces = sum(float(root.square().sum()) for root in roots)
    cross = float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum())
    return max(0.0, shift + traces - 2 * cross)


def _root_of_covariance(points: Tensor) -> Tensor:
    """Compute R [min(N, F), F] with RᵀR equal to the covariance of points [N, F]."""
    centred = (points - points.mean(0)) / math.sqrt(len(points) - 1)
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root


def are_draws(likelihood: AbstractLikelihood, *, binarised: bool) -> tuple[bool, str]:
    """Decide whether prior samples are draws or means of p(x|z); with the reason in words."""
    if binarised and likelihood.is_mass(binarised=True):
        return True, "draws of p(x|z): its means are grey, but the test images are black and white"
    return False, "means of p(x|z), which people look at; draws would add the likelihood's noise"


@torch.inference_mode()
def decoded_prior_samples(
    model: VAE, count: int, *, draws: bool, batch_size: int, seed: int
) -> Iterator[Tensor]:
    """Iterate over the pixels of decoded z ~ N(0, I): [B, C, H, W] in [0, 1], B ≤ `batch_size`.

    Noise is drawn for blocks of a fixed size, so a larger batch changes no draw.
    """
    codes = prior_draws(torch.Size([count, model.latent_size]), seed, "samples").float()
    for number, z in enumerate(codes.split(min(IMAGES_A_BLOCK, batch_size))):
        likelihood = model.decode(z.to(model.prior.mean.device))
        if draws:
            with forked(derive_seed(seed, "drawn samples", number)):
                yield likelihood.sample()
        else:
            yield likelihood.mean.clamp(0, 1)
