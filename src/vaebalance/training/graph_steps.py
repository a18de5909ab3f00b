"""Training steps that run as one graph: recorded on a CUDA device, or compiled.

Most of a small model's step is the overhead of calling its operations one by one. A graph of the
whole `step.train_step` (forward, backward, clipping, Adam) is called once. It draws the same random
numbers and gives the same results, up to rounding if compiled.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from vaebalance.balancing import State
from vaebalance.base.adam import Moments, moments_of, take_adam_step
from vaebalance.training.cuda_graphs import Recorded, RecordingError
from vaebalance.training.loader import Images
from vaebalance.training.step import Learner, Step, StepResult, train_step

OTHER_ADAMS = ("weight_decay", "amsgrad", "maximize")
"""Options of torch's Adam that change the algorithm."""


class GraphAdam:
    """Adam within a graph. It updates the weights and the state of the optimizer that it replaces.

    The learning rate is a tensor, so that one graph serves all rates.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, **changes: Any) -> None:
        """Replace `optimizer`, whose state must keep its addresses from now on.

        Args:
            optimizer: a plain Adam with one parameter group.
            changes: options that differ from the optimizer's.

        Raises:
            RecordingError: `optimizer` is not a plain Adam with one group.
        """
        self.param_groups = optimizer.param_groups
        self._group = self.param_groups[0]
        is_adam = isinstance(optimizer, torch.optim.Adam) and len(self.param_groups) == 1
        if not is_adam or any(self._group[name] for name in OTHER_ADAMS):
            raise RecordingError(f"{type(optimizer).__name__} is not a plain Adam of one group")
        self._weights = [weight for weight in self._group["params"] if weight.requires_grad]
        self._moments = moments_of(optimizer, self._group, self._weights)
        self._rate = torch.zeros((), device=self._weights[0].device)
        self._rate_is: float | None = None
        self._changes = {"lr": self._rate, "capturable": True, **changes}

    def prepare(self) -> None:
        """Copy the learning rate to the device. Call this before each step, outside the graph."""
        if self._rate_is != self._group["lr"]:
            self._rate_is = self._group["lr"]
            self._rate.fill_(self._rate_is)

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights that have a gradient."""
        places = [i for i, weight in enumerate(self._weights) if weight.grad is not None]
        weights, *moments = (
            [parts[i] for i in places] for parts in (self._weights, *self._moments)
        )
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        averages, squares, steps = moments
        self._update(weights, gradients, (averages, squares, steps))

    def zero_grad(self) -> None:
        """Set the gradients to None."""
        for weight in self._weights:
            weight.grad = None

    def _update(self, weights: list[Tensor], gradients: list[Tensor], moments: Moments) -> None:
        take_adam_step(weights, gradients, moments, self._group, **self._changes)


class CorrectedAdam(GraphAdam):
    """Adam (Kingma and Ba 2015, algorithm 1) with bias corrections computed outside the graph.

    Torch's Adam, compiled for a CPU, recomputes β₁ᵗ and β₂ᵗ for every 16 weights, which takes a
    tenth of a step of 784-400-20.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        """See `GraphAdam`.

        Raises:
            RecordingError: `optimizer` is not a plain Adam with one group, or its weights have
                taken different numbers of steps, so that one correction does not serve all.
        """
        super().__init__(optimizer)
        self._size, self._scale = torch.zeros(()), torch.zeros(())
        self._counter: Tensor | None = None
        if len(set(self._steps_taken())) > 1:
            raise RecordingError("its weights have taken different numbers of steps")

    def prepare(self) -> None:
        """Compute the next step's size, rate / (1 − β₁ᵗ), and √(1 − β₂ᵗ)."""
        if self._counter is None:
            *_, steps = self._moments
            self._counter = next((step for step in steps if step > 0), None)
        step = 1 + (0 if self._counter is None else self._counter.item())
        beta1, beta2 = self._group["betas"]
        self._size.fill_(self._group["lr"] / (1 - beta1**step))
        self._scale.fill_((1 - beta2**step) ** 0.5)

    def _steps_taken(self) -> list[float]:
        """Return the step counts that are not 0: a weight without a gradient takes no steps."""
        *_, steps = self._moments
        return [step.item() for step in steps if step > 0]

    def _update(self, weights: list[Tensor], gradients: list[Tensor], moments: Moments) -> None:
        (beta1, beta2), eps = self._group["betas"], self._group["eps"]
        for weight, gradient, average, square, step in zip(
            weights, gradients, *moments, strict=True
        ):
            step.add_(1)
            average.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            weight.sub_(self._size * average / (square.sqrt() / self._scale + eps))


class _GraphStep(Step, ABC):
    """A step whose graph is made for batches of the first batch's size.

    Batches of another size run operation by operation, and so do all batches if no graph can be
    made: see `failure`.
    """

    def __init__(self, learner: Learner, images: Images, gradient_clip: float | None) -> None:
        """See `step.train_step`; the first call makes the graph.

        Control flow must not depend on the value of a tensor.
        """
        super().__init__(learner, images, gradient_clip)
        self._shape: torch.Size | None = None
        self._adam: GraphAdam | None = None
        self._graph: Callable[[Tensor, State], StepResult] | None = None
        self.failure: str | None = None
        """Why no graph could be made; None: a graph exists or has not been tried."""

    def __call__(self, batch: Tensor, state: State) -> StepResult:
        """Take one optimizer step on a batch, with the balance in `state`."""
        if self._shape is None:
            self._shape = batch.shape
        if self.failure is not None or batch.shape != self._shape:
            return super().__call__(batch, state)
        try:
            if self._adam is None or self._graph is None:
                return self._first(batch, state)
            self._adam.prepare()
            return self._graph(batch, state)
        except self._errors() as error:  # raised before anything is changed or drawn
            self._graph, self.failure = None, reason_of(error)
            self._learner.optimizer.zero_grad()
            return super().__call__(batch, state)

    def _first(self, batch: Tensor, state: State) -> StepResult:
        # Wait for the first call, since a resume replaces the optimizer's state.
        self._adam = self._make_adam()
        learner = replace(self._learner, optimizer=cast("torch.optim.Optimizer", self._adam))
        self._graph = self._make_graph(partial(train_step, learner, self._images, self._clip))
        self._adam.prepare()
        with self._first_call():
            return self._graph(batch, state)

    @abstractmethod
    def _make_adam(self) -> GraphAdam:
        """Return the replacement of the learner's optimizer."""

    @abstractmethod
    def _make_graph(
        self, step: Callable[[Tensor, State], StepResult]
    ) -> Callable[[Tensor, State], StepResult]:
        """Return `step` as a graph, which may be built at the first call."""

    def _first_call(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _errors(self) -> tuple[type[Exception], ...]:
        return (RecordingError,)


class RecordedStep(_GraphStep):
    """The kernels of the plain step on a CUDA device as one graph, with identical results."""

    @property
    def status(self) -> str:
        """Why the step is not recorded; empty if it is."""
        return f"the training step is not recorded: {self.failure}" if self.failure else ""

    def _make_adam(self) -> GraphAdam:
        return GraphAdam(self._learner.optimizer)

    def _make_graph(
        self, step: Callable[[Tensor, State], StepResult]
    ) -> Callable[[Tensor, State], StepResult]:
        return Recorded(step)


class CompiledStep(_GraphStep):
    """The step as one graph, compiled by torch."""

    def __init__(
        self,
        learner: Learner,
        images: Images,
        gradient_clip: float | None,
        backend: str = "inductor",
    ) -> None:
        """See `step.train_step`; the first call compiles.

        Args:
            learner: a learner whose terms, balance and penalty torch can trace.
            images: see `step.train_step`.
            gradient_clip: see `step.train_step`.
            backend: backend of `torch.compile`.
        """
        super().__init__(learner, images, gradient_clip)
        self._backend = backend
        self.seconds = 0.0
        """Duration of the first call."""

    @property
    def status(self) -> str:
        """Whether the step is compiled, with the time that took or the reason why it is not."""
        if self.failure is not None:
            return f"the training step is not compiled: {self.failure}"
        if self._graph is None:
            return "compiling the training step: seconds if it was before, else up to a minute"
        return f"the training step is compiled ({self.seconds:.0f} s)"

    def _make_adam(self) -> GraphAdam:
        if self._learner.device.type == "cuda":
            return GraphAdam(self._learner.optimizer, fused=False)
        return CorrectedAdam(self._learner.optimizer)

    def _make_graph(
        self, step: Callable[[Tensor, State], StepResult]
    ) -> Callable[[Tensor, State], StepResult]:
        # All tensors that the step reads keep their addresses and shapes (see `__call__`), so skip
        # torch's checks at each step, which take a tenth of a small model's step.
        options: Any = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        if self._backend == "inductor":
            options["fallback_random"] = True  # draw what the plain step draws

        def one(batch: Tensor, state: State) -> StepResult:
            return step(batch, state)

        # Torch keeps at most eight graphs for each code object, as long as that object lives.
        one.__code__ = one.__code__.replace()
        compiled: Callable[[Tensor, State], StepResult] = torch.compile(
            one, fullgraph=True, dynamic=False, backend=self._backend, options=options
        )
        return Recorded(compiled) if self._learner.device.type == "cuda" else compiled

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


def reason_of(error: Exception) -> str:
    """Return the first line of an error that says what happened."""
    cause = error.__cause__ or error
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), repr(cause))
