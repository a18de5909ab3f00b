"""A trained curve: β -> an ordinary VAE."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from vaebalance.base.errors import UserError
from vaebalance.vae.conditioning import ConditionedVAE
from vaebalance.vae.model import VAE


class AbstractCurve(ABC):
    """Models for β from `low` to `high`, at α = 1."""

    @property
    @abstractmethod
    def low(self) -> float:
        """Least β."""

    @property
    @abstractmethod
    def high(self) -> float:
        """Largest β."""

    @property
    @abstractmethod
    def is_continuous(self) -> bool:
        """Whether there is a model at every β of the range, or at some only."""

    @abstractmethod
    def betas(self, points: int) -> tuple[float, ...]:
        """So many β, ascending, evenly spread on a log scale as far as there are models."""

    @abstractmethod
    def model_at(self, beta: float) -> VAE:
        """An ordinary VAE in evaluation mode.

        Raises:
            UserError: there is none at this β.
        """


@dataclass(frozen=True)
class ConditionedCurve(AbstractCurve):
    """One conditioned model: any β of its range."""

    model: ConditionedVAE

    @property
    def low(self) -> float:
        """Least β."""
        return self.model.low

    @property
    def high(self) -> float:
        """Largest β."""
        return self.model.high

    @property
    def is_continuous(self) -> bool:
        """It is."""
        return True

    def betas(self, points: int) -> tuple[float, ...]:
        """So many β in equal ratios, both ends among them."""
        return log_spaced(self.low, self.high, points)

    def model_at(self, beta: float) -> VAE:
        """The model folded at this β."""
        return self.model.at(beta)


@dataclass(frozen=True)
class ContinuationCurve(AbstractCurve):
    """Snapshots of one model that was swept from low to high β."""

    snapshots: Sequence[tuple[float, VAE]]
    """By ascending β, in evaluation mode."""

    @property
    def low(self) -> float:
        """Least β."""
        return self.snapshots[0][0]

    @property
    def high(self) -> float:
        """Largest β."""
        return self.snapshots[-1][0]

    @property
    def is_continuous(self) -> bool:
        """It is not."""
        return False

    def betas(self, points: int) -> tuple[float, ...]:
        """So many of its β, evenly spread; all where more are asked for than there are."""
        last = len(self.snapshots) - 1
        kept = min(points, last + 1)
        steps = [round(i * last / max(1, kept - 1)) for i in range(kept)]
        return tuple(self.snapshots[step][0] for step in steps)

    def model_at(self, beta: float) -> VAE:
        """The snapshot at this β."""
        for own, model in self.snapshots:
            if math.isclose(own, beta, rel_tol=1e-5):  # as a table prints it
                return model
        nearest = min(self.snapshots, key=lambda s: abs(math.log(s[0] / beta)) if beta > 0 else 0)
        raise UserError(
            f"β = {beta:g}: a continuation has models at its own β only, the nearest is "
            f"{nearest[0]:g} (all: {', '.join(f'{own:.6g}' for own, _ in self.snapshots)}). Take "
            "one of them, train more with curve.points, or take curve.method: conditioned."
        )


def log_spaced(low: float, high: float, points: int) -> tuple[float, ...]:
    """`points` numbers in equal ratios; both ends exactly."""
    if points == 1:
        return (low,)
    inner = [low * (high / low) ** (i / (points - 1)) for i in range(1, points - 1)]
    return (low, *inner, high)
