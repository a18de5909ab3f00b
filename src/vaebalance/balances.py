"""Who sets α and β at each step.

A balance sets weights and never touches the loss, so that what is logged is what was used. It is
immutable; what it must remember between steps is an explicit state of tensors, which a checkpoint
holds. A new rule is one class here and its name in `Balance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vaebalance.elbo import ElboTerms, Weights
from vaebalance.specs import Spec

State = dict[str, Tensor]


class AbstractBalance(Spec, ABC):
    """A rule for α and β."""

    def initial_state(self) -> State:
        """The state before the first step; empty for a rule without memory."""
        return {}

    @abstractmethod
    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """α and β for this step; `terms` are detached."""

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """The state after this step, called once a step."""
        return state


class Fixed(AbstractBalance):
    """The same α and β at every step."""

    kind: Literal["fixed"] = "fixed"
    alpha: float = Field(default=1.0, ge=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the rate."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.alpha == 0 and self.beta == 0:
            raise ValueError("alpha and beta are both 0, so there is nothing to minimise")
        return self

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """The two numbers."""
        return Weights(self.alpha, self.beta)


class LinearWarmUp(AbstractBalance):
    """β rises linearly from 0 to `beta` over the first `steps` steps (Bowman et al. 2016)."""

    kind: Literal["linear_warm_up"] = "linear_warm_up"
    alpha: float = Field(default=1.0, gt=0)
    """Weight of the distortion."""
    beta: float = Field(default=1.0, ge=0)
    """Final weight of the rate."""
    steps: int = Field(ge=1)
    """Optimizer updates until β is reached."""

    def initial_state(self) -> State:
        """The number of steps taken."""
        return {"step": torch.zeros(())}

    def weights(self, state: State, terms: ElboTerms) -> Weights:
        """β·min(1, step/steps)."""
        return Weights(self.alpha, self.beta * (state["step"] / self.steps).clamp(max=1.0))

    def next_state(self, state: State, terms: ElboTerms) -> State:
        """One step more."""
        return {"step": state["step"] + 1}


Balance = Annotated[Fixed | LinearWarmUp, Field(discriminator="kind")]
