"""Projections of codes of any size onto a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.floating[Any]]  # [M, Z]

MARGIN = 1.06
PRIOR_REACH = 3.3  # prior standard deviations that are always visible
PERPLEXITY = 30.0
ITERATIONS = 500
LEAST_CODES = 5  # distinct codes that a neighbour embedding needs
LEAST_SPREAD = 1e-6  # relative to the largest code, or to 1: closer codes count as equal


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

    There are no neighbours where fewer than `LEAST_CODES` codes differ.

    Args:
        codes: posterior means [M, Z], finite.
        has_prior: whether the codes have a standard normal prior.
        seed: seed of the neighbour embedding.
    """
    found = [first_plane(codes, has_prior=has_prior)]
    several = codes.shape[1] > 2 and len(distinct(codes)[0]) >= LEAST_CODES
    return [*found, neighbour_plane(codes, seed)] if several else found


def first_plane(codes: Codes, *, has_prior: bool) -> Plane:
    """Return the plane of one or two latents; for more, principal components.

    Codes that are all equal have no direction of variance; for them, return the first two latents.
    """
    latents, count = codes.shape[1], len(distinct(codes)[0])
    if latents == 1:
        plane = line(codes, has_prior=has_prior)
    elif latents == 2 or count < 2:
        plane = own_plane(codes, has_prior=has_prior)
    else:
        plane = principal_plane(codes, has_prior=has_prior)
    reading = _reading_of_few(len(codes), count) if count < min(len(codes), LEAST_CODES) else ""
    return replace(plane, reading=f"{reading} {plane.reading}".strip())


def distinct(codes: Codes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find which codes differ by more than rounding.

    Returns:
        The index of the first of each group of equal codes, ascending; and the group of each code.
    """
    exact = codes.astype(np.float64)
    resolution = LEAST_SPREAD * max(1.0, float(np.abs(exact).max()))
    # Counted from the least value, so that codes of one tiny spread lie in one cell.
    cells = np.floor((exact - exact.min(0)) / resolution)
    _, first, group = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    order = first.argsort()
    return first[order], order.argsort()[group.ravel()]


def _reading_of_few(codes: int, count: int) -> str:
    if count > 1:
        return f"The {codes:,} codes have only {count} distinct values, so their points overlap."
    return (
        f"The codes have collapsed: all {codes:,} are equal, so no code tells one image from "
        "another, and there is nothing to project."
    )


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
    """Return the plane of the first two latents, without projection."""
    points = codes[:, :2].astype(np.float64)
    is_all = codes.shape[1] == 2
    return Plane(
        name="latent_plane",
        title="The latent plane itself" if is_all else "The first two latents",
        unit="prior standard deviations" if has_prior else "code units",
        points=points,
        limits=_limits(points, has_prior=has_prior),
        axes={"x": "z0", "y": "z1"},
        has_prior=has_prior,
        reading="Nothing is projected: this is all there is." if is_all else "",
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
    variances = variances.clip(min=0)  # rounding leaves less than 0 where there is no variance
    shares = variances[::-1][:2] / variances.sum()
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

    Equal codes share one point: t-SNE would draw them apart, and it divides by the codes' spread.
    The codes are rescaled first, against overflow and underflow. The embedding runs on one thread,
    because several threads add their parts in no fixed order.

    Args:
        codes: [M, Z]; at least `LEAST_CODES` of them distinct.
        seed: seed of the embedding.
    """
    from sklearn.manifold import TSNE  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    first, group = distinct(codes)
    exact = codes[first].astype(np.float64)
    exact *= 2.0 ** -np.round(np.log2(exact.std(0).max()))
    perplexity = min(PERPLEXITY, (len(exact) - 1) / 3)
    embedding = TSNE(
        init="pca",
        perplexity=perplexity,
        max_iter=ITERATIONS,
        random_state=seed % 2**32,
    )
    with threadpool_limits(limits=1):
        points = embedding.fit_transform(exact).astype(np.float64)[group]
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


def half_width(low: float, high: float) -> float:
    """Return half the width of an axis for values from `low` to `high`, which may be equal."""
    size = max(1.0, abs(low), abs(high))
    return (high - low if high - low > LEAST_SPREAD * size else size) / 2


def _limits(points: NDArray[np.float64], *, has_prior: bool) -> tuple[float, float, float, float]:
    """Return a square around all points; with a prior it is centred on 0 and holds its circles."""
    if has_prior:
        x, y, half = 0.0, 0.0, max(float(np.abs(points).max()), PRIOR_REACH)
    else:
        low, high = points.min(0), points.max(0)
        x, y = ((low + high) / 2).tolist()
        widest = int((high - low).argmax())
        half = half_width(float(low[widest]), float(high[widest]))
    half *= MARGIN
    return (x - half, x + half, y - half, y + half)
