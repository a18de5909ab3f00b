"""A step on a CUDA device, recorded once and replayed.

The kernels of a small model's step take microseconds, and calling them takes longer. A recorded
step is called at once: the same kernels, the same draws, the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WARM_UP = 3
"""Steps that are taken before recording, in which libraries choose and allocate what they need."""


class RecordingError(Exception):
    """A step that cannot be recorded; nothing has been changed by the attempt."""


class Recorded:
    """A function of tensors, of the same shapes at every call, as one CUDA graph.

    What it reads beside its arguments and what it changes must stay where it is; what it returns
    beside tensors must be the same at every call.
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        """Begin: the first calls run `step` itself."""
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Any] = []
        self._form = pytree.tree_structure(None)

    def __call__(self, *inputs: Any) -> Any:
        """What `step` returns for the inputs, which are tensors or mappings to tensors.

        Raises:
            RecordingError: it waits for the device, or copies from it, on its way.
        """
        if self._calls < WARM_UP:
            self._calls += 1
            return self._on_a_side(*inputs)
        if self._graph is None:
            self._graph = self._record(inputs)
        for kept, new in zip(self._inputs, _tensors(inputs), strict=True):
            kept.copy_(new, non_blocking=True)
        self._graph.replay()
        # The next replay writes over what this one has put out.
        found = [put.clone() if isinstance(put, Tensor) else put for put in self._outputs]
        return pytree.tree_unflatten(found, self._form)

    def _on_a_side(self, *inputs: Any) -> Any:
        """On a stream of its own, as what is recorded later must have run before."""
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            found = self._step(*inputs)
        here.wait_stream(side)
        return found

    def _record(self, inputs: tuple[Any, ...]) -> torch.cuda.CUDAGraph:
        kept = [_copy(each) for each in inputs]
        self._inputs = _tensors(kept)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                found = self._step(*kept)
        except RuntimeError as error:
            _end_recording()
            raise RecordingError(str(error)) from error
        self._outputs, self._form = pytree.tree_flatten(found)
        return graph


def _tensors(inputs: Sequence[Any]) -> list[Tensor]:
    """In an order that a mapping's own does not matter to. (pytree takes ten times as long.)"""
    found: list[Tensor] = []
    for each in inputs:
        found += [each[key] for key in sorted(each)] if isinstance(each, Mapping) else [each]
    return found


def _copy(each: Any) -> Any:
    if isinstance(each, Mapping):
        return {key: value.clone() for key, value in each.items()}
    return each.clone()


def _end_recording() -> None:
    """After a failure torch's generator believes that it is being recorded, until a success."""
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        torch.zeros((), device="cuda")
