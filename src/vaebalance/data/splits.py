"""Assignment of pictures to splits, which depends only on their content and the seed.

Each picture gets a number u in [0, 1) from a hash of the seed and its content. Adding a picture
therefore moves no other, the order of files does not matter, and duplicates share a split.
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
    """Return a number in [0, 1) per key, which depends only on seed, purpose and key."""
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
    """Assign a split to each picture, given the digest of its content.

    The smallest u form the test split and the largest the validation split, so changing one
    fraction does not change the other split. A published test set stays as it is, and
    `test_fraction` is then ignored.
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
    """Return ascending positions [n] of at most `largest` pictures of each published part.

    The choice depends on the names, so the other pictures need not be decoded. Adding a picture
    displaces at most one other.
    """
    everything = np.arange(len(paths), dtype=np.int64)
    if largest is None:
        return everything
    draws = uniforms(seed, "subset", (path.encode() for path in paths))
    published = np.zeros(len(paths), bool) if published_test is None else published_test
    parts = [everything[published], everything[~published]]
    chosen = [part[np.argsort(draws[part], kind="stable")[:largest]] for part in parts]
    return np.sort(np.concatenate(chosen))
