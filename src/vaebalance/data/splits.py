"""Who is in which split: decided by what a picture shows and the seed, by nothing else.

Every picture draws a number u in [0, 1) from a hash of the seed and its content. So adding a
picture moves no other, the order of files does not matter, and duplicates share a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def uniforms(seed: int, purpose: str, keys: Iterable[bytes]) -> NDArray[np.float64]:
    """A number in [0, 1) for each key: the same for the same seed, purpose and key, everywhere."""
    salted = hashlib.sha256(f"{purpose}/{seed}/".encode())

    def draw(key: bytes) -> float:
        drawn = salted.copy()
        drawn.update(key)
        # 53 bits fit a float exactly, so that the result cannot be rounded up to 1.
        return (int.from_bytes(drawn.digest()[:8], "big") >> 11) / 2**53

    return np.fromiter((draw(key) for key in keys), np.float64)


def assign_splits(
    digests: Sequence[bytes],
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    published_test: NDArray[np.bool_] | None = None,
) -> list[Split]:
    """The split of each picture, given the digest of its content.

    Test is the lower end of u and validation the upper, so that changing one fraction leaves the
    other split as it is. Where a test set is published it stays whole, and `test_fraction` counts
    for nothing.
    """
    if published_test is not None:
        test_fraction = 0.0

    def split(u: float, published: bool) -> Split:
        if published or u < test_fraction:
            return "test"
        return "validation" if u >= 1 - validation_fraction else "train"

    published = np.zeros(len(digests), bool) if published_test is None else published_test
    draws = uniforms(seed, "split", digests)
    return [split(u, bool(flag)) for u, flag in zip(draws, published, strict=True)]


def choose_subset(
    paths: Sequence[str],
    seed: int,
    largest: int | None,
    published_test: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Positions [n], ascending, of at most `largest` pictures of each published part.

    The choice is by name, so that the pictures left out need not be decoded; a picture that is
    added pushes out at most one other.
    """
    everything = np.arange(len(paths), dtype=np.int64)
    if largest is None:
        return everything
    draws = uniforms(seed, "subset", (path.encode() for path in paths))
    published = np.zeros(len(paths), bool) if published_test is None else published_test
    parts = [everything[published], everything[~published]]
    chosen = [part[np.argsort(draws[part], kind="stable")[:largest]] for part in parts]
    return np.sort(np.concatenate(chosen))
