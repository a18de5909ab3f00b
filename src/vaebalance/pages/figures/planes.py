"""Codes of any size -> points in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.floating[Any]]  # [M, Z]

MARGIN = 1.06
PRIOR_REACH = 3.3  # prior standard deviations that are always in view
PERPLEXITY = 30.0
ITERATIONS = 500
LEAST_CODES = 5  # of a neighbour embedding


@dataclass(frozen=True)
class Plane:
    """Where codes lie, and what that means."""

    name: str
    title: str
    unit: str
    points: NDArray[np.float64]  # [M, 2]
    limits: tuple[float, float, float, float]  # x from, x to, y from, y to; a square
    axes: Mapping[str, str | None]
    """Titles of x and y; None where positions mean nothing."""
    has_prior: bool
    """Whether the prior's circles about 0 belong here."""
    reading: str
    """How to read it."""


def planes(codes: Codes, *, has_prior: bool, seed: int) -> list[Plane]:
    """The plane of one or two latents itself; for more, principal components and neighbours.

    Args:
        codes: posterior means [M, Z].
        has_prior: whether the codes have a standard normal prior.
        seed: of the neighbour embedding.
    """
    found = [first_plane(codes, has_prior=has_prior)]
    several = codes.shape[1] > 2 and len(codes) >= LEAST_CODES
    return [*found, neighbour_plane(codes, seed)] if several else found


def first_plane(codes: Codes, *, has_prior: bool) -> Plane:
    """The plane of one or two latents itself; for more, principal components."""
    latents = codes.shape[1]
    if latents == 1:
        return line(codes, has_prior=has_prior)
    return (own_plane if latents == 2 else principal_plane)(codes, has_prior=has_prior)


def line(codes: Codes, *, has_prior: bool) -> Plane:
    """One latent, spread vertically so that points do not hide each other."""
    x = codes[:, 0].astype(np.float64)
    limits = _limits(x[:, None].repeat(2, 1), has_prior=has_prior)
    # Multiples of the golden ratio: even, whatever the number of points.
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
    """The two latents themselves."""
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
    """The two directions of the most variance.

    The directions are orthonormal and 0 stays where it is, so that the prior, projected, is the
    standard normal of the plane and its circles are true.
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
    """t-SNE from the principal components on (van der Maaten & Hinton 2008).

    On one thread: the order in which several add up their shares is not fixed.
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
    """A square that holds all points; with a prior it lies about 0 and holds its circles."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    if has_prior:
        middle, half = np.zeros(2), max(float(np.abs(points).max()), PRIOR_REACH)
    half = max(half, 1e-6) * MARGIN
    x, y = middle.tolist()
    return (x - half, x + half, y - half, y + half)
