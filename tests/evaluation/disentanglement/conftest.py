"""Codes whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from vaebalance.evaluation.disentanglement.factors import FactorCodes

SIZES = (2, 4, 4, 5)
NAMES = ("a", "b", "c", "d")


def grid(sizes: tuple[int, ...] = SIZES, repeats: int = 5) -> np.ndarray:
    """Repeat every combination of the factors `repeats` times."""
    return np.tile(np.indices(sizes).reshape(len(sizes), -1).T, (repeats, 1))


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / values.std(0)


@pytest.fixture
def perfect() -> FactorCodes:
    """Make codes with one latent for each factor, linear in it."""
    factors = grid()
    return FactorCodes(standardised(factors), factors, NAMES)


@pytest.fixture
def rotated() -> FactorCodes:
    """Make codes with two factors on the diagonals of two latents, and two more on two others."""
    factors = grid((4, 4, 5, 5))
    codes = standardised(factors)
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
    codes = np.hstack([codes[:, :2] @ turn, codes[:, 2:] @ turn])
    return FactorCodes(codes, factors, NAMES)


@pytest.fixture
def noise() -> FactorCodes:
    """Make codes without information."""
    factors = grid()
    return FactorCodes(np.random.default_rng(0).standard_normal((len(factors), 4)), factors, NAMES)


@pytest.fixture
def generator() -> np.random.Generator:
    """Return a seeded generator."""
    return np.random.default_rng(1)
