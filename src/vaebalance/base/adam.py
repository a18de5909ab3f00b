"""Adam without bookkeeping, and without the import of torch's compiler, which takes a second.

The methods of torch's optimizers are wrapped for `torch.compile`, and the first call of one imports
the whole compiler. Their bookkeeping takes an eighth of a small model's step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

Moments = tuple[list[Tensor], list[Tensor], list[Tensor]]
"""Of each weight: the average of its gradients, that of their squares, and the steps taken."""


class Adam(torch.optim.Adam):
    """torch.optim.Adam, bit for bit, without its variants and hooks."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)
    state_dict = unwrap(torch.optim.Adam.state_dict)

    def __init__(self, weights: Iterable[Tensor], lr: float, *, fused: bool | None = None) -> None:
        """See torch.optim.Adam."""
        super().__init__(weights, lr=lr, fused=fused)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights that have a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            take_adam_step(weights, gradients, moments_of(self, group, weights), group)

    # Torch would wrap it to look for hooks and to name it in profiles.
    step.hooked = True  # type: ignore[attr-defined]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None."""
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None


def moments_of(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], weights: Sequence[Tensor]
) -> Moments:
    """Return what Adam remembers of the weights of a group; zeros where it has taken no step."""
    states = [optimizer.state[weight] for weight in weights]
    for weight, state in zip(weights, states, strict=True):
        if not state:
            device = weight.device if group["fused"] else torch.device("cpu")
            state["step"] = torch.zeros((), device=device)
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
    return (
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["step"] for state in states],
    )


def take_adam_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    moments: Moments,
    group: Mapping[str, Any],
    **changes: Any,
) -> None:
    """Update weights by torch's own arithmetic, with the options of `group` but for `changes`."""
    averages, squares, steps = moments
    options = {"lr": group["lr"], "fused": group["fused"], "capturable": group["capturable"]}
    adam(
        weights,
        gradients,
        averages,
        squares,
        [],  # largest squares, which amsgrad would keep
        steps,
        foreach=False,
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=0.0,
        eps=group["eps"],
        maximize=False,
        **(options | changes),
    )
