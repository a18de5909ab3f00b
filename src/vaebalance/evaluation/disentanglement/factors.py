"""Codes of images whose factors of variation are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FactorCodes:
    """Posterior means with factors; every factor has at least two values among these images."""

    codes: NDArray[np.float64]  # [N, Z]
    factors: Indices  # [N, F] index of each factor's value
    names: tuple[str, ...]  # [F]

    @property
    def latents(self) -> int:
        """Number of latents Z."""
        return int(self.codes.shape[1])

    def sharing(
        self, factor: int, images: Indices, count: int, generator: np.random.Generator
    ) -> Indices:
        """Draw `count` images for each of `images` [n] that share its value of `factor`.

        Returns:
            [n, count], with repetition.
        """
        order, starts, sizes = self._by_value[factor]
        values = self.factors[images, factor]
        draws = generator.random((len(images), count))
        within = (draws * sizes[values][:, None]).astype(np.int64)
        drawn: Indices = order[starts[values][:, None] + within]
        return drawn

    @cached_property
    def _by_value(self) -> list[tuple[Indices, Indices, Indices]]:
        """For each factor: images ordered by its value, the start of each value, its count."""
        groups = []
        for column in self.factors.T:
            sizes = np.bincount(column)
            groups.append((np.argsort(column, kind="stable"), np.cumsum(sizes) - sizes, sizes))
        return groups


def known_factors(
    codes: NDArray[np.float64], factors: Indices, names: tuple[str, ...]
) -> FactorCodes | None:
    """Keep the factors that vary among the images; None if fewer than two do."""
    varying = [index for index, column in enumerate(factors.T) if column.min() < column.max()]
    if len(varying) < 2:
        return None
    return FactorCodes(codes, factors[:, varying], tuple(names[index] for index in varying))


def shares(images: int, largest: tuple[int, int]) -> tuple[int, int]:
    """Return the numbers of images to learn from and to test on: 2/3 and 1/3, or the largest."""
    train = min(largest[0], 2 * images // 3)
    return train, min(largest[1], images - train)


def train_and_test(
    images: int, largest: tuple[int, int], generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draw random images to learn from, and others to test on."""
    train, test = shares(images, largest)
    order = generator.permutation(images)
    return order[:train], order[train : train + test]
