"""Title, named β and caution of a curve, for its page and animation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaebalance.base.errors import UserError
from vaebalance.pages.slider.backdrops import Landmark
from vaebalance.pages.slider.states import CurveState

TOLERANCE = 1e-6  # relative, for a named β at the ends of the range


@dataclass(frozen=True)
class Mark:
    """A named β: the knee, β = 1, the β of best nll."""

    name: str
    beta: float


@dataclass(frozen=True)
class CurveFacts:
    """A description of the curve."""

    title: str
    """Name of the data set."""
    models: str
    """How the models were trained, in a sentence."""
    marks: tuple[Mark, ...] = ()
    """Named β; each has a button and a point on the curve, at the nearest state."""
    caution: str | None = None
    """Warning about the likelihood."""


def nearest(states: Sequence[CurveState], mark: Mark) -> int:
    """Return the index of the state whose log β is nearest to the mark's.

    Raises:
        UserError: the mark is outside the states' range.
    """
    if not is_within(states, mark.beta):
        low, high = states[0].beta, states[-1].beta
        raise UserError(
            f"the curve's page: {mark.name} at β = {mark.beta:g} is outside the curve, which spans "
            f"β = {low:g} to {high:g}; trace the curve further, or omit the mark."
        )
    distance = [abs(math.log(state.beta / mark.beta)) for state in states]
    return distance.index(min(distance))


def is_within(states: Sequence[CurveState], beta: float) -> bool:
    """Return whether the states' range contains β."""
    low, high = states[0].beta, states[-1].beta
    return low * (1 - TOLERANCE) <= beta <= high * (1 + TOLERANCE)


def landmarks(states: Sequence[CurveState], facts: CurveFacts) -> list[Landmark]:
    """Return the marks' points on the curve; marks of the same state share a name."""
    names: dict[int, list[str]] = {}
    for mark in facts.marks:
        names.setdefault(nearest(states, mark), []).append(mark.name)
    return [
        Landmark(", ".join(joined), states[index].rate, states[index].distortion)
        for index, joined in names.items()
    ]
