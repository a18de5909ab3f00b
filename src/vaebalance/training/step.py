"""One update of a model's weights by an objective: operation by operation, recorded, or compiled.

A small model's step waits for its operations to be called one after the other. Recorded (on a CUDA
device) or compiled, the whole of it (forward, backward, clipping, Adam) is one graph: the same
draws, the same numbers, but for float rounding where it is compiled.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.adam import adam

from vaebalance.training.cuda_graphs import Recorded, RecordingError

Objective = Callable[..., tuple[Tensor, Any]]
"""Tensors (or containers of them), a batch first -> the loss [], and what else is wanted of it,
detached."""

OTHER_ADAMS = ("weight_decay", "amsgrad", "maximize")
"""Options of torch's Adam that make it another one."""


class Update:
    """One step of Adam, operation by operation."""

    def __init__(
        self, objective: Objective, optimizer: torch.optim.Optimizer, gradient_clip: float | None
    ) -> None:
        """Begin.

        Args:
            objective: whose loss is minimised.
            optimizer: a plain Adam of one group, of all weights; those that need no gradient stay.
            gradient_clip: largest norm of the whole gradient; None: no clipping.

        Raises:
            ValueError: the optimizer is another one.
        """
        self._objective = objective
        self._optimizer = optimizer
        self._clip = gradient_clip
        is_adam = isinstance(optimizer, torch.optim.Adam)
        if not is_adam or any(self._group[name] for name in OTHER_ADAMS):
            raise ValueError(f"an update is one of plain Adam, not of {optimizer}")
        self._weights: list[Tensor] = [w for w in self._group["params"] if w.requires_grad]

    def __call__(self, batch: Tensor, *others: Any) -> Any:
        """Update the weights by the gradient on a batch; what else the objective gives.

        A weight that the loss does not depend on has the gradient 0.
        """
        return self._take(self._group["lr"], batch, *others)

    def _take(self, rate: float | Tensor, *inputs: Any, capturable: bool = False) -> Any:
        # (Without the optimizer's own step, and `.grad`, whose bookkeeping takes an eighth of a
        # small model's step.)
        loss, found = self._objective(*inputs)
        found_gradients = torch.autograd.grad(loss, self._weights, allow_unused=True)
        gradients = list(map(_laid_out, self._weights, found_gradients))
        with torch.no_grad():
            if self._clip is not None:
                gradients = _clipped(gradients, self._clip)
            update = self._adam(rate)
            update(gradients, fused=self._group["fused"], capturable=capturable)
        return found

    @property
    def said(self) -> str:
        """What there is to say of how it runs."""
        return ""

    @property
    def _group(self) -> dict[str, Any]:
        (group,) = self._optimizer.param_groups  # other ones after a resume
        return group

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

    def _adam(self, rate: float | Tensor) -> Callable[..., None]:
        """Torch's own, of gradients, one for each weight."""
        weights, group = self._weights, self._group
        averages, squares, steps = self._moments()
        beta1, beta2 = group["betas"]

        def update(gradients: list[Tensor], **how: Any) -> None:
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
                lr=rate,
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
                **how,
            )

        return update


class _ShapedUpdate(Update, ABC):
    """One step of Adam by a function made for batches of the first one's size.

    Others go the plain way. So does everything where it cannot be made: see `failure`.
    """

    def __init__(
        self, objective: Objective, optimizer: torch.optim.Optimizer, gradient_clip: float | None
    ) -> None:
        """Begin; the first call makes it.

        Args:
            objective: as `Update`'s, and such that no step of it depends on a tensor's value.
            optimizer: as `Update`'s; its state is what it would be without this.
            gradient_clip: as `Update`'s.
        """
        super().__init__(objective, optimizer, gradient_clip)
        self._device = self._weights[0].device
        self._shape: torch.Size | None = None
        self._made: Callable[..., Any] | None = None
        # A tensor, lest each value need a graph of its own.
        self._rate = torch.zeros((), device=self._device)
        self._rate_is: float | None = None
        self.failure: str | None = None
        """Why it is not made after all."""

    def __call__(self, batch: Tensor, *others: Any) -> Any:
        """As `Update`."""
        if self._shape is None:
            self._shape = batch.shape
        if self.failure is not None or batch.shape != self._shape:
            return super().__call__(batch, *others)
        if self._rate_is != self._group["lr"]:
            self._rate_is = self._group["lr"]
            self._rate.fill_(self._rate_is)
        first = self._made is None
        try:
            if self._made is None:
                self._made = self._make()
            with self._first_call() if first else nullcontext():
                return self._made(batch, *others)
        except self._errors() as error:  # raised before anything is changed or drawn
            self._made, self.failure = None, reason_of(error)
            return super().__call__(batch, *others)

    @abstractmethod
    def _make(self) -> Callable[..., Any]:
        """What takes a step, given the objective's inputs, at the learning rate `_rate`."""

    def _first_call(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _errors(self) -> tuple[type[Exception], ...]:
        return (RecordingError,)


class RecordedUpdate(_ShapedUpdate):
    """The plain way's kernels on a CUDA device as one graph: the same numbers, bit for bit."""

    @property
    def said(self) -> str:
        """What there is to say of how it runs."""
        return f"the training step is not recorded: {self.failure}" if self.failure else ""

    def _make(self) -> Callable[..., Any]:
        return Recorded(partial(self._take, self._rate, capturable=True))


class CompiledUpdate(_ShapedUpdate):
    """The same as one graph that torch's compiler makes."""

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
        # See `_corrected_adam`.
        self._size, self._scale = (torch.zeros((), device=self._device) for _ in range(2))
        self.seconds = 0.0
        """What the first call took."""

    @property
    def said(self) -> str:
        """What there is to say of how it runs."""
        if self.failure is not None:
            return f"the training step is not compiled: {self.failure}"
        if self._made is None:
            return "compiling the training step: seconds if it was before, else up to a minute"
        return f"the training step is compiled ({self.seconds:.0f} s)"

    def _make(self) -> Callable[..., Any]:
        # What is read beside the arguments stays, and these have one shape (see `__call__`): torch
        # need not look at each step, which takes a tenth of a small model's.
        options: Any = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        if self._backend == "inductor":
            options["fallback_random"] = True  # the generator's own draws, as the plain way's
        compiled = torch.compile(
            self._traced(), fullgraph=True, dynamic=False, backend=self._backend, options=options
        )
        if self._device.type == "cuda":
            return Recorded(compiled)

        def corrected(*inputs: Any) -> Any:
            self._correct()
            return compiled(*inputs)

        return corrected

    @contextmanager
    def _first_call(self) -> Iterator[None]:
        import torch._dynamo

        began = time.perf_counter()
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            yield
        self.seconds = time.perf_counter() - began

    def _errors(self) -> tuple[type[Exception], ...]:
        import torch._dynamo
        import torch._inductor.exc

        compilers = torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InvalidCxxCompiler
        return (*compilers, *super()._errors())

    def _traced(self) -> Callable[..., Any]:
        weights, objective, clip = self._weights, self._objective, self._clip
        if self._device.type == "cuda":
            # (Told so, torch keeps Adam's count of steps within the graph.)
            update_by: Callable[..., None] = partial(self._adam(self._rate), capturable=True)
        else:
            update_by = self._corrected_adam()

        def update(*inputs: Any) -> Any:
            loss, found = objective(*inputs)
            gradients = list(torch.autograd.grad(loss, weights))
            with torch.no_grad():
                if clip is not None:
                    factor = _clipping(gradients, clip)
                    gradients = [gradient * factor for gradient in gradients]
                update_by(gradients)
            return found

        # Torch keeps graphs by code, eight for each at most, for as long as the code is there.
        update.__code__ = update.__code__.replace()
        return update

    def _corrected_adam(self) -> Callable[[list[Tensor]], None]:
        """Adam (Kingma and Ba 2015, algorithm 1), its corrections for a step in `_size`, `_scale`.

        Torch's own, compiled for a processor, raises β₁ and β₂ to the step's power anew for every
        16 weights: a tenth of a step of 784-400-20.

        Raises:
            ValueError: weights have taken different numbers of steps.
        """
        weights, (averages, squares, steps) = self._weights, self._moments()
        (beta1, beta2), eps = self._group["betas"], self._group["eps"]
        size, scale = self._size, self._scale
        if len({step.item() for step in steps}) > 1:
            raise ValueError("a compiled step is one for all weights, which differ in steps taken")

        def update(gradients: list[Tensor]) -> None:
            remembered = zip(averages, squares, steps, strict=True)
            for weight, gradient, (average, square, step) in zip(
                weights, gradients, remembered, strict=True
            ):
                step.add_(1)
                average.lerp_(gradient, 1 - beta1)
                square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                weight.sub_(size * average / (square.sqrt() / scale + eps))

        return update

    def _correct(self) -> None:
        """Write down the next step's size, rate / (1 − β₁ᵗ), and √(1 − β₂ᵗ)."""
        step = 1 + self._optimizer.state[self._weights[0]]["step"].item()
        beta1, beta2 = self._group["betas"]
        self._size.fill_(self._group["lr"] / (1 - beta1**step))
        self._scale.fill_((1 - beta2**step) ** 0.5)


def _laid_out(weight: Tensor, gradient: Tensor | None) -> Tensor:
    """A gradient that lies in memory as its weight does, which fused Adam takes for granted."""
    if gradient is None:
        return torch.zeros_like(weight)
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def _clipped(gradients: list[Tensor], largest: float) -> list[Tensor]:
    """The gradients, their norm brought to `largest` if it is more."""
    factor = _clipping(gradients, largest)
    # Products by 1 are a tenth of a small model's step; to look first makes other devices wait.
    if factor.device.type == "cpu" and factor == 1:
        return gradients
    # (Not in place: weights that are added have one gradient between them.)
    return list(torch._foreach_mul(gradients, factor))


def _clipping(gradients: list[Tensor], largest: float) -> Tensor:
    """What brings the norm of the whole gradient to `largest` if it is more, as torch does: []."""
    return (largest / (get_total_norm(gradients) + 1e-6)).clamp(max=1.0)


def reason_of(error: Exception) -> str:
    """The first line of an error that says what happened."""
    cause = error.__cause__ or error
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), repr(cause))
