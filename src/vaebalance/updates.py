"""One update of a model's weights by an objective: operation by operation, or compiled.

A small model's step waits for its operations to be called one after the other. Compiled, the whole
of it (forward, backward, clipping, Adam) is one graph: the same draws, the same numbers but for
float rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim.adam import adam

Objective = Callable[..., tuple[Tensor, Any]]
"""Tensors (or containers of them), a batch first -> the loss [], and what else is wanted of it,
detached."""


class Update:
    """One step of Adam, operation by operation."""

    def __init__(
        self, objective: Objective, optimizer: torch.optim.Optimizer, gradient_clip: float | None
    ) -> None:
        """Begin.

        Args:
            objective: whose loss is minimised.
            optimizer: an Adam of one group without weight decay, of all weights.
            gradient_clip: largest norm of the whole gradient; None: no clipping.
        """
        self._objective = objective
        self._optimizer = optimizer
        self._clip = gradient_clip
        self._weights: list[Tensor] = list(self._group["params"])

    def __call__(self, batch: Tensor, *others: Any) -> Any:
        """Update the weights by the gradient on a batch; what else the objective gives."""
        loss, found = self._objective(batch, *others)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._clip is not None:
            clip_grad_norm_(self._weights, self._clip)
        self._optimizer.step()
        return found

    @property
    def said(self) -> str:
        """What there is to say of how it runs."""
        return ""

    @property
    def _group(self) -> dict[str, Any]:
        (group,) = self._optimizer.param_groups  # other ones after a resume
        return group


class CompiledUpdate(Update):
    """The same as one graph, for batches of the first one's size; others go the plain way.

    So does everything where it cannot be compiled: see `failure`.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        gradient_clip: float | None,
        backend: str = "inductor",
    ) -> None:
        """Begin; the first call compiles.

        Args:
            objective: as `Update`'s, and such that torch can trace it: no step of it may depend
                on a tensor's value.
            optimizer: as `Update`'s; its state is what it would be without this.
            gradient_clip: as `Update`'s.
            backend: of `torch.compile`.
        """
        super().__init__(objective, optimizer, gradient_clip)
        self._backend = backend
        self._shape: torch.Size | None = None
        self._graph: Callable[..., Any] | None = None
        self._rate = torch.zeros((), device=self._weights[0].device)
        self.seconds = 0.0
        """What the first call took."""
        self.failure: str | None = None
        """Why it is not compiled after all."""

    def __call__(self, batch: Tensor, *others: Any) -> Any:
        """As `Update`."""
        if self._shape is None:
            self._shape = batch.shape
        if self.failure is not None or batch.shape != self._shape:
            return super().__call__(batch, *others)
        tracing = nullcontext() if self._graph else _gradients_are_traced()
        began = time.perf_counter()
        if self._graph is None:
            self._graph = self._compiled()
        self._rate.fill_(self._group["lr"])
        try:
            with tracing:
                found = self._graph(self._rate, batch, *others)
        except _compiler_errors() as error:  # raised before anything is changed or drawn
            self._graph, self.failure = None, _reason(error)
            return super().__call__(batch, *others)
        self.seconds = self.seconds or time.perf_counter() - began
        return found

    @property
    def said(self) -> str:
        """What there is to say of how it runs."""
        if self.failure is not None:
            return f"the training step is not compiled: {self.failure}"
        if self._graph is None:
            return "compiling the training step: seconds if it was before, else up to a minute"
        return f"the training step is compiled ({self.seconds:.0f} s)"

    def _compiled(self) -> Callable[..., Any]:
        # The generator's own draws: those that the plain way draws.
        inductors: Any = {"fallback_random": True}
        options = inductors if self._backend == "inductor" else None
        return torch.compile(
            self._update(), fullgraph=True, dynamic=False, backend=self._backend, options=options
        )

    def _update(self) -> Callable[..., Any]:
        weights, group, objective, clip = self._weights, self._group, self._objective, self._clip
        averages, squares, steps = self._moments()
        beta1, beta2 = group["betas"]

        def update(rate: Tensor, *inputs: Any) -> Any:
            loss, found = objective(*inputs)
            gradients = list(torch.autograd.grad(loss, weights))
            with torch.no_grad():
                if clip is not None:
                    factor = (clip / (get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
                    gradients = [gradient * factor for gradient in gradients]
                adam(
                    weights,
                    gradients,
                    averages,
                    squares,
                    [],  # largest squares, which amsgrad would keep
                    steps,
                    foreach=False,
                    amsgrad=False,
                    beta1=beta1,
                    beta2=beta2,
                    lr=rate,  # a tensor, lest each value be compiled anew
                    weight_decay=0.0,
                    eps=group["eps"],
                    maximize=False,
                )
            return found

        # Torch keeps graphs by code, eight for each at most, for as long as the code is there.
        update.__code__ = update.__code__.replace()
        return update

    def _moments(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What the optimizer remembers of each weight: averages, squares, steps."""
        state, on_device = self._optimizer.state, bool(self._group["fused"])
        for weight in self._weights:
            if not state[weight]:
                state[weight] = {
                    "step": torch.zeros((), device=weight.device if on_device else "cpu"),
                    "exp_avg": torch.zeros_like(weight),
                    "exp_avg_sq": torch.zeros_like(weight),
                }
        averages, squares, steps = (
            [state[weight][name] for weight in self._weights]
            for name in ("exp_avg", "exp_avg_sq", "step")
        )
        return averages, squares, steps


def _gradients_are_traced() -> AbstractContextManager[Any]:
    import torch._dynamo

    patch: AbstractContextManager[Any] = torch._dynamo.config.patch(trace_autograd_ops=True)
    return patch


def _compiler_errors() -> tuple[type[Exception], ...]:
    import torch._dynamo
    import torch._inductor.exc

    return torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InvalidCxxCompiler


def _reason(error: Exception) -> str:
    """The first line of an error that says what happened."""
    cause = error.__cause__ or error
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), repr(cause))
