"""Precision, recall, density and coverage of two sets of points, by nearest neighbours.

A point's neighbourhood is the ball that reaches to its k-th nearest neighbour in its own set
(Kynkäänniemi et al. 2019; Naeem et al. 2020). Memory is bounded for sets of any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURS = 5
"""The k of Naeem et al. 2020."""
BLOCK_ELEMENTS = 2**20
"""Distances held at once: 8 MB."""
DISTANCES = "use_mm_for_euclid_dist"
"""Matrix products are exact enough in float64, and many times faster."""


@dataclass(frozen=True)
class Overlap:
    """How a set of candidates overlaps a reference set; all are 0 for sets far apart."""

    precision: float
    """Share of candidates in the neighbourhood of any reference point."""
    recall: float
    """Share of reference points in the neighbourhood of any candidate."""
    density: float
    """Number of reference neighbourhoods that a candidate is in, over k; about 1 for equal
    distributions."""
    coverage: float
    """Share of reference points with a candidate in their neighbourhood."""


def overlap(reference: Tensor, candidates: Tensor, neighbours: int = NEIGHBOURS) -> Overlap | None:
    """Compare candidates [M, d] with a reference [N, d].

    A set of no more than `neighbours` points has smaller neighbourhoods. None if either has fewer
    than two points, and so no neighbours.
    """
    if min(len(reference), len(candidates)) < 2:
        return None
    k = min(neighbours, len(reference) - 1, len(candidates) - 1)
    reference, candidates = reference.double(), candidates.double()
    reference_radii, candidate_radii = radii(reference, k), radii(candidates, k)
    hits = torch.zeros(len(candidates), dtype=torch.int64)
    recalled = covered = 0
    for rows, distances in blocks_of_distances(reference, candidates):
        inside = distances < reference_radii[rows, None]
        hits += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances < candidate_radii).any(1).sum())
    return Overlap(
        precision=float((hits > 0).double().mean()),
        recall=recalled / len(reference),
        density=float(hits.double().mean()) / k,
        coverage=covered / len(reference),
    )


def radii(points: Tensor, k: int) -> Tensor:
    """Compute the distance of each point [N, d] to its k-th nearest other: [N]."""
    blocks = []
    for rows, distances in blocks_of_distances(points, points):
        distances[torch.arange(len(distances)), torch.arange(len(points))[rows]] = torch.inf
        blocks.append(distances.topk(k, largest=False, sorted=True).values[:, -1])
    return torch.cat(blocks)


def blocks_of_distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Iterate over blocks of rows of a [N, d], with their distances to all of b: [rows, M]."""
    size = max(1, BLOCK_ELEMENTS // len(b))
    for start in range(0, len(a), size):
        rows = slice(start, min(start + size, len(a)))
        yield rows, torch.cdist(a[rows], b, compute_mode=DISTANCES)
