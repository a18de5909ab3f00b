"""Projections of codes of any size onto a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.floating[Any]]  # [M, Z]

MARGIN = 1.06
PRIOR_REACH = 3.3  # prior standard deviations that are always visible
PERPLEXITY = 30.0
ITERATIONS = 500
LEAST_CODES = 5  # codes that a neighbour embedding needs


@dataclass(frozen=True)
class Plane:
    """Positions of codes in a plane, with axes and an explanation."""

    name: str
    title: str
    unit: str
    points: NDArray[np.float64]  # [M, 2]
    limits: tuple[float, float, float, float]  # x0, x1, y0, y1; a square
    axes: Mapping[str, str | None]
    """Titles of x and y; None if positions along the axis have no meaning."""
    has_prior: bool
    """Whether circles of the prior about 0 are valid in this plane."""
    reading: str
    """How to read the plane."""


def planes(codes: Codes, *, has_prior: bool, seed: int) -> list[Plane]:
    """Return the plane of one or two latents; for more, principal components and neighbours.

    Args:
        codes: posterior means [M, Z].
        has_prior: whether the codes have a standard normal prior.
        seed: seed of the neighbour embedding.
    """
    found = [first_plane(codes, has_prior=has_prior)]
    several = codes.shape[1] > 2 and len(codes) >= LEAST_CODES
    return [*found, neighbour_plane(codes, seed)] if several else found


def first_plane(codes: Codes, *, has_prior: bool) -> Plane:
    """Return the plane of one or two latents; for more, principal components."""
    latents = codes.shape[1]
    if latents == 1:
        return line(codes, has_prior=has_prior)
    return (own_plane if latents == 2 else principal_plane)(codes, has_prior=has_prior)


def line(codes: Codes, *, has_prior: bool) -> Plane:
    """Lay out one latent on x, spread vertically so that points do not hide each other."""
    x = codes[:, 0].astype(np.float64)
    limits = _limits(x[:, None].repeat(2, 1), has_prior=has_prior)
    # Multiples of the golden ratio spread any number of points evenly.
    spread = (np.arange(len(x)) * 0.6180339887498949) % 1.0
    y = limits[0] + (limits[1] - limits[0]) * (0.25 + 0.5 * spread)
    return Plane(
        name="latent_plane",
        title="The only latent",
        unit="prior standard deviations" if has_prior else "code units",
        points=np.stack([x, y], axis=1),
        limits=limits,
        axes={"x": "z0", "y": None},
        has_prior=False,
        reading="The vertical position only spreads the points.",
    )


def own_plane(codes: Codes, *, has_prior: bool) -> Plane:
    """Return the plane of the two latents, without projection."""
    points = codes.astype(np.float64)
    return Plane(
        name="latent_plane",
        title="The latent plane itself",
        unit="prior standard deviations" if has_prior else "code units",
        points=points,
        limits=_limits(points, has_prior=has_prior),
        axes={"x": "z0", "y": "z1"},
        has_prior=has_prior,
        reading="Nothing is projected: this is all there is.",
    )


def principal_plane(codes: Codes, *, has_prior: bool) -> Plane:
    """Project the codes onto the two directions of most variance.

    The directions are orthonormal and the origin stays fixed, so the projected prior is the
    plane's standard normal and its circles are exact.
    """
    exact = codes.astype(np.float64)
    centred = exact - exact.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(exact))
    best = directions[:, ::-1][:, :2]
    best = best * np.where(best[np.abs(best).argmax(0), (0, 1)] < 0, -1.0, 1.0)  # a definite sign
    total = max(float(variances.sum()), 1e-300)
    shares = variances[::-1][:2] / total
    points = exact @ best
    return Plane(
        name="latent_plane",
        title="Principal components",
        unit="prior standard deviations" if has_prior else "code units",
        points=points,
        limits=_limits(points, has_prior=has_prior),
        axes={
            "x": f"first component, {shares[0]:.0%} of the variance",
            "y": f"second component, {shares[1]:.0%}",
        },
        has_prior=has_prior,
        reading=(
            f"A shadow of the {codes.shape[1]}-dimensional codes along the two directions of most "
            "variance: classes that overlap here may be apart in the other directions."
        ),
    )


def neighbour_plane(codes: Codes, seed: int) -> Plane:
    """Embed the codes by t-SNE, initialised with PCA (van der Maaten & Hinton 2008).

    It runs on one thread, because several threads add their parts in no fixed order.
    """
    from sklearn.manifold import TSNE  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    exact = codes.astype(np.float64)
    perplexity = min(PERPLEXITY, (len(exact) - 1) / 3)
    embedding = TSNE(
        init="pca" if np.ptp(exact) > 0 else "random",
        perplexity=perplexity,
        max_iter=ITERATIONS,
        random_state=seed % 2**32,
    )
    with threadpool_limits(limits=1):
        points = embedding.fit_transform(exact).astype(np.float64)
    return Plane(
        name="latent_neighbours",
        title="Neighbours (t-SNE)",
        unit="no unit",
        points=points,
        limits=_limits(points, has_prior=False),
        axes={"x": None, "y": None},
        has_prior=False,
        reading=(
            "Near points have near codes. Distances between groups, their sizes and shapes mean "
            f"little, and the prior has no circles here (perplexity {perplexity:.3g})."
        ),
    )


def _limits(points: NDArray[np.float64], *, has_prior: bool) -> tuple[float, float, float, float]:
    """Return a square around all points; with a prior it is centred on 0 and holds its circles."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    if has_prior:
        middle, half = np.zeros(2), max(float(np.abs(points).max()), PRIOR_REACH)
    half = max(half, 1e-6) * MARGIN
    x, y = middle.tolist()
    return (x - half, x + half, y - half, y + half)
