"""How well the aggregate posterior matches the prior: two common claims, measured.

*Symmetric about the origin*: its mean is 0, its covariance the identity, and z is distributed like
−z. *No gaps*: wherever the prior draws a code, there are codes of images. Each number is compared
with its null: the same number for as many draws of the prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed
from vaebalance.evaluation.neighbours import (
    BLOCK_ELEMENTS,
    DISTANCES,
    Overlap,
    blocks_of_distances,
    overlap,
)
from vaebalance.evaluation.posterior_moments import PosteriorMoments

NULL_PAIRS = 5
"""Pairs of sets of prior draws from which the nulls of the energy distances are estimated."""


@dataclass(frozen=True)
class AggregateMoments:
    """First and second moments of the aggregate posterior; exact for the given images."""

    mean_norm: float
    """‖E[z]‖; 0 for the prior."""
    covariance_deviation: float
    """Root mean square of the covariance's eigenvalues minus 1: ‖Cov[z] − I‖_F / √Z."""
    smallest_variance: float
    """Smallest eigenvalue of the covariance."""
    largest_variance: float
    """Largest eigenvalue of the covariance."""


@dataclass(frozen=True)
class Energies:
    """Unbiased energy distances (Székely & Rizzo 2013): about 0 for equal distributions."""

    energy_symmetry: float
    """Distance between z and −z."""
    energy_to_prior: float
    """Distance between z and draws of the prior."""


def aggregate_moments(moments: PosteriorMoments) -> AggregateMoments:
    """Compute the moments of the mixture of the posteriors behind `moments`."""
    variances = torch.linalg.eigvalsh(moments.aggregate_covariance)
    return AggregateMoments(
        mean_norm=float(moments.aggregate_mean.norm()),
        covariance_deviation=float((variances - 1).square().mean().sqrt()),
        smallest_variance=float(variances.min()),
        largest_variance=float(variances.max()),
    )


def aggregate_moments_null(images: int, latents: int) -> AggregateMoments:
    """Compute the expected moments of `images` prior draws, and the limits of the eigenvalues.

    E‖mean‖² = Z/N, and E‖Cov − I‖_F² = Z(Z+1)/N for a known mean. The extreme eigenvalues are those
    of Marchenko & Pastur 1967, (1 ± √(Z/N))².
    """
    ratio = latents / images
    return AggregateMoments(
        mean_norm=math.sqrt(ratio),
        covariance_deviation=math.sqrt((latents + 1) / images),
        smallest_variance=max(0.0, 1 - math.sqrt(ratio)) ** 2,
        largest_variance=(1 + math.sqrt(ratio)) ** 2,
    )


def energies(z: Tensor, seed: int) -> tuple[Energies, Energies] | None:
    """Compute the energy distances of codes z [N, Z], and their null.

    The null is the root mean square over pairs of sets of N prior draws. None for a single code.
    """
    if len(z) < 2:
        return None
    draws = [prior_draws(z.shape, seed, number) for number in range(NULL_PAIRS + 1)]
    sets = [z.double(), *draws]
    within = [mean_distance_to_others(points) for points in sets]
    symmetry = [
        2 * (mean_distance_to_others(points, mirrored=True) - spread)
        for points, spread in zip(sets, within, strict=True)
    ]
    distance = [
        2 * mean_distance(a, b) - spread_a - spread_b
        for (a, spread_a), (b, spread_b) in pairwise(zip(sets, within, strict=True))
    ]
    null = [_root_mean_square(symmetry[1:]), _root_mean_square(distance[1:])]
    return Energies(symmetry[0], distance[0]), Energies(*null)


def mean_distance(a: Tensor, b: Tensor) -> float:
    """Average the Euclidean distances of points a [N, Z] to b [M, Z]."""
    total = sum(float(distances.sum()) for _, distances in blocks_of_distances(a, b))
    return total / (len(a) * len(b))


def mean_distance_to_others(z: Tensor, *, mirrored: bool = False) -> float:
    """Average ‖z_n − z_m‖ over all n ≠ m, or ‖z_n + z_m‖ if `mirrored`; points [N, Z].

    The distances are symmetric in n and m, so only half of them are computed.
    """
    count, total = len(z), 0.0
    others = -z if mirrored else z
    size = max(1, BLOCK_ELEMENTS // count)
    for start in range(0, count, size):
        rows = z[start : start + size]
        distances = torch.cdist(rows, others[start:], compute_mode=DISTANCES)
        square = distances[:, : len(rows)]
        total += 2 * float(distances.sum()) - float(square.sum()) - float(square.trace())
    return total / (count * (count - 1))


def _root_mean_square(values: list[float]) -> float:
    return math.sqrt(math.fsum(value**2 for value in values) / len(values))


def gaps(z: Tensor, seed: int) -> tuple[Overlap, Overlap] | None:
    """Compare codes z [N, Z] with as many prior draws; the null compares other prior draws.

    Coverage is the share of prior draws that have a code nearby; the rest, 1 − coverage, are gaps.
    None for a single code.
    """
    prior, null = (prior_draws(z.shape, seed, name) for name in ("gaps", "gaps null"))
    observed, expected = overlap(prior, z), overlap(prior, null)
    return (observed, expected) if observed and expected else None


def prior_draws(shape: torch.Size, seed: int, *names: object) -> Tensor:
    """Draw codes z ~ N(0, I), [N, Z] float64."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "prior", *names))
    return torch.randn(shape, generator=generator, dtype=torch.float64)
