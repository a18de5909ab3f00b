"""What a page or an animation says about a curve besides its states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaebalance.base.errors import UserError
from vaebalance.pages.slider.backdrops import Landmark
from vaebalance.pages.slider.states import CurveState

TOLERANCE = 1e-6  # relative, of a named β at the end of the range


@dataclass(frozen=True)
class Mark:
    """A β that has a name: the knee, β = 1, the β of best nll."""

    name: str
    beta: float


@dataclass(frozen=True)
class CurveFacts:
    """What the curve is of."""

    title: str
    """Of the data set."""
    models: str
    """How the models came about, in a sentence."""
    marks: tuple[Mark, ...] = ()
    """Each has a button and a place on the curve: those of the nearest state."""
    caution: str | None = None
    """What a reader must know of the likelihood."""


def nearest(states: Sequence[CurveState], mark: Mark) -> int:
    """The state whose log β is nearest to the mark's.

    Raises:
        UserError: the mark is not within the states' range.
    """
    if not is_within(states, mark.beta):
        low, high = states[0].beta, states[-1].beta
        raise UserError(
            f"the curve's page: {mark.name} at β = {mark.beta:g} is not within the curve, from "
            f"β = {low:g} to {high:g}; trace the curve further, or leave the mark out."
        )
    distance = [abs(math.log(state.beta / mark.beta)) for state in states]
    return distance.index(min(distance))


def is_within(states: Sequence[CurveState], beta: float) -> bool:
    """Whether the states' range has this β."""
    low, high = states[0].beta, states[-1].beta
    return low * (1 - TOLERANCE) <= beta <= high * (1 + TOLERANCE)


def landmarks(states: Sequence[CurveState], facts: CurveFacts) -> list[Landmark]:
    """The marks' places on the curve; marks of one state share a name."""
    names: dict[int, list[str]] = {}
    for mark in facts.marks:
        names.setdefault(nearest(states, mark), []).append(mark.name)
    return [
        Landmark(", ".join(found), states[index].rate, states[index].distortion)
        for index, found in names.items()
    ]
