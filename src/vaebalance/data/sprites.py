"""dSprites' factors of variation, drawn by us: shape, scale, orientation, x, y.

After Matthey et al. 2017 (dSprites), white on black, with two differences. Edges are antialiased
(the share of 8x8 points of a pixel that the shape covers). And orientations that a shape's
symmetry makes equal are equal to the bit, so that such pictures are recognised as duplicates and
do not straddle the splits; a full turn counts once.
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
"""In how many orientations of a full turn each shape looks the same."""
FINENESS = 8
"""Points a pixel, along each side."""
REACH = 0.25
"""Radius of the circle around a sprite of scale 1, as a share of the picture's side."""


class Sprites(AbstractSource):
    """Every combination of the factors once; `data.root` is not used."""

    kind: Literal["sprites"] = "sprites"
    size: int = Field(default=64, ge=8, le=64)
    """Side of a picture, in pixels."""
    scales: int = Field(default=3, ge=1, le=64)
    """Steps of the sprite's scale, from ½ to 1 (dSprites: 6)."""
    orientations: int = Field(default=8, ge=1, le=360)
    """Steps of a full turn (dSprites: 40)."""
    positions: int = Field(default=8, ge=1, le=64)
    """Steps along x, and along y (dSprites: 32, which makes 737,280 pictures)."""

    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """All combinations; the last factor, y, changes fastest."""
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
        """Draw the pictures of factors [n, 5]: one shape, scale and orientation at a time."""
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
        """[2·F·size, 2·F·size] grey level of a pixel whose corner is at each point of the fine
        grid, which has F points a pixel and the sprite in its middle.
        """
        # The angle is taken modulo the shape's symmetry in integers, hence the equal bits.
        order, steps = SYMMETRY[shape], self.orientations
        angle = 2 * math.pi * ((order * orientation) % steps) / (order * steps)
        radius = REACH * self.size * _spread(0.5, 1.0, scale, self.scales)
        # Centres of the fine points around the sprite's middle, in radii; beyond them all is black.
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
        """[n, 1, size, size]: the sprite with its centre at each step x, y."""
        radius, size = REACH * self.size, self.size
        centres = [
            round(FINENESS * _spread(radius, size - radius, step, self.positions))
            for step in range(self.positions)
        ]
        # A sprite moved right by c points is the grid read from c points further left.
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
    """[P + side − 1]²: how many points [P, P] are set in each block of that side that holds any."""
    padded = np.pad(points, ((side, side - 1), (side, side - 1)))
    table = padded.cumsum(0, np.int32).cumsum(1, np.int32)
    sums: NDArray[np.int32] = table[side:] - table[:-side]
    return sums[:, side:] - sums[:, :-side]


def _spread(low: float, high: float, step: int, steps: int) -> float:
    """Number `step` of `steps` even steps from `low` to `high`; a single step is the middle."""
    return (low + high) / 2 if steps == 1 else low + (high - low) * step / (steps - 1)


def _inside(shape: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a point lies in the shape, which fits the unit circle; y points down.

    Only + − × and comparisons, whose results are the same on every machine.
    """
    if SHAPES[shape] == "square":
        half = 0.5  # half a side; its square is a half when the corner is on the circle
        return (x * x <= half) & (y * y <= half)
    if SHAPES[shape] == "ellipse":
        return x * x + 4 * (y * y) <= 1
    # The curve (u² + v² − 1)³ = u² v³ reaches 1.4246 from the origin.
    u, v = 1.425 * x, -1.425 * y
    outer = u * u + v * v - 1
    return outer * outer * outer <= u * u * v * v * v
