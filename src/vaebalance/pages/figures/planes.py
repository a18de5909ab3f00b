"""Codes of any size -> points in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.floating[Any]]  # [M, Z]

MARGIN = 1.06
PRIOR_REACH = 3.3  # prior standard deviations that are always in view
PERPLEXITY = 30.0
ITERATIONS = 500
LEAST_CODES = 5  # of a neighbour embedding, distinct from each other
LEAST_SPREAD = 1e-6  # of the largest code, or of 1: codes nearer to each other are the same


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

    There are no neighbours where fewer than `LEAST_CODES` codes differ.

    Args:
        codes: posterior means [M, Z], finite.
        has_prior: whether the codes have a standard normal prior.
        seed: of the neighbour embedding.
    """
    found = [first_plane(codes, has_prior=has_prior)]
    several = codes.shape[1] > 2 and len(distinct(codes)[0]) >= LEAST_CODES
    return [*found, neighbour_plane(codes, seed)] if several else found


def first_plane(codes: Codes, *, has_prior: bool) -> Plane:
    """The plane of one or two latents itself; for more, principal components.

    Codes that are all the same have no directions of variance: for them the first two latents.
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
    """Which codes differ by more than rounding.

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
        return f"The {codes:,} codes take {count} values only, and their points cover each other."
    return (
        f"The codes have collapsed: all {codes:,} are the same, so that the code tells no image "
        "from another and there is nothing to project."
    )


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
    """The first two latents themselves."""
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
    """The two directions of the most variance.

    The directions are orthonormal and 0 stays where it is, so that the prior, projected, is the
    standard normal of the plane and its circles are true.
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
    """t-SNE from the principal components on (van der Maaten & Hinton 2008).

    Equal codes share one point: t-SNE would draw them apart, and divides by the codes' spread. The
    codes' scale does not matter to it but for overflow and underflow. One thread: the order in
    which several add up their shares is not fixed.

    Args:
        codes: [M, Z]; at least `LEAST_CODES` of them distinct.
        seed: of the embedding.
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
    """Half the width of an axis for values from `low` to `high`; values that are equal get room."""
    size = max(1.0, abs(low), abs(high))
    return (high - low if high - low > LEAST_SPREAD * size else size) / 2


def _limits(points: NDArray[np.float64], *, has_prior: bool) -> tuple[float, float, float, float]:
    """A square that holds all points; with a prior it lies about 0 and holds its circles."""
    if has_prior:
        x, y, half = 0.0, 0.0, max(float(np.abs(points).max()), PRIOR_REACH)
    else:
        low, high = points.min(0), points.max(0)
        x, y = ((low + high) / 2).tolist()
        widest = int((high - low).argmax())
        half = half_width(float(low[widest]), float(high[widest]))
    half *= MARGIN
    return (x - half, x + half, y - half, y + half)
