"""Trained curves, which map β to an ordinary VAE."""

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
        """Whether the curve has a model at every β of the range, not only at some."""

    @abstractmethod
    def betas(self, points: int) -> tuple[float, ...]:
        """Return `points` ascending β, spread evenly on a log scale as far as models exist."""

    @abstractmethod
    def model_at(self, beta: float) -> VAE:
        """Return an ordinary VAE in evaluation mode.

        Raises:
            UserError: the curve has no model at this β.
        """


@dataclass(frozen=True)
class ConditionedCurve(AbstractCurve):
    """A conditioned model, with any β of its range."""

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
        """True: a conditioned model has every β of its range."""
        return True

    def betas(self, points: int) -> tuple[float, ...]:
        """Return `points` β in equal ratios, including both ends."""
        return log_spaced(self.low, self.high, points)

    def model_at(self, beta: float) -> VAE:
        """Return the model folded at this β."""
        return self.model.at(beta)


@dataclass(frozen=True)
class ContinuationCurve(AbstractCurve):
    """Snapshots of one model that was swept from low to high β."""

    snapshots: Sequence[tuple[float, VAE]]
    """(β, model) by ascending β, in evaluation mode."""

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
        """False: models exist only at the β of the snapshots."""
        return False

    def betas(self, points: int) -> tuple[float, ...]:
        """Return `points` β of the snapshots, evenly spread, or all if there are fewer."""
        last = len(self.snapshots) - 1
        kept = min(points, last + 1)
        steps = [round(i * last / max(1, kept - 1)) for i in range(kept)]
        return tuple(self.snapshots[step][0] for step in steps)

    def model_at(self, beta: float) -> VAE:
        """Return the snapshot at this β.

        Raises:
            UserError: no snapshot has this β.
        """
        for snapshot_beta, model in self.snapshots:
            if math.isclose(snapshot_beta, beta, rel_tol=1e-5):  # tables print six digits
                return model
        nearest = min(self.snapshots, key=lambda s: abs(math.log(s[0] / beta)) if beta > 0 else 0)
        raise UserError(
            f"β = {beta:g}: a continuation has models at its own β only, the nearest is "
            f"{nearest[0]:g} (all: {', '.join(f'{b:.6g}' for b, _ in self.snapshots)}). Take "
            "one of them, train more with curve.points, or take curve.method: conditioned."
        )


def log_spaced(low: float, high: float, points: int) -> tuple[float, ...]:
    """Return `points` numbers in equal ratios from exactly `low` to exactly `high`."""
    if points == 1:
        return (low,)
    inner = [low * (high / low) ** (i / (points - 1)) for i in range(1, points - 1)]
    return (low, *inner, high)
