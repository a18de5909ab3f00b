"""Pictures drawn from the dSprites factors of variation: shape, scale, orientation, x, y.

The pictures follow dSprites (Matthey et al. 2017), white on black, with two differences. Edges are
antialiased: a pixel's grey level is the fraction of its 8x8 points inside the shape. Orientations
that are equal by a shape's symmetry give identical bits, so those pictures count as duplicates and
share a split; a full turn is not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from pydantic import Field

from vaebalance.data.collection import AbstractSource, Batch, Collection, chunks

SHAPES = ("square", "ellipse", "heart")
SYMMETRY = (4, 2, 1)
"""Order of the rotational symmetry of each shape."""
FINENESS = 8
"""Points per pixel along each side."""
REACH = 0.25
"""Radius of the circle around a sprite of scale 1, as a fraction of the picture's side."""


class Sprites(AbstractSource):
    """Drawn shapes with known factors (as dSprites), one picture per combination."""

    kind: Literal["sprites"] = "sprites"
    size: int = Field(default=64, ge=8, le=64)
    """Side of a picture, in pixels."""
    scales: int = Field(default=3, ge=1, le=64)
    """Number of scales of the sprite, from ½ to 1 (dSprites: 6)."""
    orientations: int = Field(default=8, ge=1, le=360)
    """Number of orientations in a full turn (dSprites: 40)."""
    positions: int = Field(default=8, ge=1, le=64)
    """Number of positions along x and along y (dSprites: 32, which gives 737,280 pictures)."""

    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """List all combinations; the last factor, y, changes fastest."""
        sizes = (len(SHAPES), self.scales, self.orientations, self.positions, self.positions)
        factors = np.indices(sizes, np.int64).reshape(len(sizes), -1).T
        return Collection(
            name=self.kind,
            image_shape=(1, self.size, self.size),
            paths=["sprites/" + "-".join(map(str, row)) for row in factors.tolist()],
            labels=factors[:, 0].copy(),
            label_names=SHAPES,
            factors=factors,
            factor_names=("shape", "scale", "orientation", "x", "y"),
            factor_sizes=sizes,
            read=lambda positions: self._read(factors[positions]),
        )

    def _read(self, factors: NDArray[np.int64]) -> Iterator[Batch]:
        """Draw the pictures with `factors` [n, 5], one shape, scale and orientation at a time."""
        side = (1, self.size, self.size)
        kinds = factors[:, :3]
        starts = np.flatnonzero(np.any(kinds[1:] != kinds[:-1], axis=1)) + 1
        for run in np.split(np.arange(len(factors)), starts):
            if not len(run):
                continue
            cover = self._cover(*kinds[run[0]].tolist())
            for part in chunks(len(run), side):
                images = self._place(cover, factors[run[part], 3], factors[run[part], 4])
                sizes = np.full((len(images), 2), self.size, np.int64)
                yield Batch(images, sizes, [None] * len(images))

    def _cover(self, shape: int, scale: int, orientation: int) -> NDArray[np.uint8]:
        """Return the grey level of a pixel whose corner is at each point of the fine grid.

        The result is [2·F·size, 2·F·size]; the grid has F points per pixel, with the sprite in its
        centre.
        """
        # Reduce the angle by the shape's symmetry in integers: equal pictures get equal bits.
        order, steps = SYMMETRY[shape], self.orientations
        angle = 2 * math.pi * ((order * orientation) % steps) / (order * steps)
        radius = REACH * self.size * _spread(0.5, 1.0, scale, self.scales)
        # Offsets of the fine points from the sprite's centre, in radii; all others are black.
        reach = FINENESS * math.ceil(REACH * self.size)
        line = (np.arange(-reach, reach) + 0.5) / (FINENESS * radius)
        x, y = line[None, :], line[:, None]
        cosine, sine = math.cos(angle), math.sin(angle)
        inside = _inside(shape, cosine * x + sine * y, cosine * y - sine * x)
        covered = _sums_of_blocks(inside, FINENESS)
        cover = np.zeros((2 * FINENESS * self.size,) * 2, np.uint8)
        start = FINENESS * self.size - reach - FINENESS + 1
        window = slice(start, start + len(covered))
        cover[window, window] = np.round(covered * (255 / FINENESS**2))
        return cover

    def _place(
        self, cover: NDArray[np.uint8], x: NDArray[np.int64], y: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Return pictures [n, 1, size, size] with the sprite's centre at positions x, y."""
        radius, size = REACH * self.size, self.size
        centres = [
            round(FINENESS * _spread(radius, size - radius, step, self.positions))
            for step in range(self.positions)
        ]
        # To move the sprite right by c points, read the grid from c points further left.
        offsets = FINENESS * size - np.array(centres)
        down, right = cover.strides
        windows = as_strided(
            cover,
            (FINENESS * size, FINENESS * size, size, size),
            (down, right, FINENESS * down, FINENESS * right),
            writeable=False,
        )
        placed: NDArray[np.uint8] = windows[offsets[y], offsets[x]]
        return placed[:, None]


def _sums_of_blocks(points: NDArray[np.bool_], side: int) -> NDArray[np.int32]:
    """Count the points set in each block of `side` squared: [P, P] -> [P + side − 1]²."""
    padded = np.pad(points, ((side, side - 1), (side, side - 1)))
    table = padded.cumsum(0, np.int32).cumsum(1, np.int32)
    sums: NDArray[np.int32] = table[side:] - table[:-side]
    return sums[:, side:] - sums[:, :-side]


def _spread(low: float, high: float, step: int, steps: int) -> float:
    """Return value `step` of `steps` evenly spaced ones from `low` to `high`.

    A single step is the middle.
    """
    return (low + high) / 2 if steps == 1 else low + (high - low) * step / (steps - 1)


def _inside(shape: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each point is inside the shape, which fits the unit circle; y points down.

    Uses only + − × and comparisons, which give the same results on every machine.
    """
    if SHAPES[shape] == "square":
        half = 0.5  # square of half the side, for a corner on the unit circle
        return (x * x <= half) & (y * y <= half)
    if SHAPES[shape] == "ellipse":
        return x * x + 4 * (y * y) <= 1
    # The curve (u² + v² − 1)³ = u² v³ reaches 1.4246 from the origin.
    u, v = 1.425 * x, -1.425 * y
    outer = u * u + v * v - 1
    return outer * outer * outer <= u * u * v * v * v
