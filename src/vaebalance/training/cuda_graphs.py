"""Record a function on a CUDA device as one graph, and replay it.

The kernels of a small model's step take microseconds, and launching them takes longer. A graph
launches all of them at once. It runs the same kernels and draws the same random numbers, so its
results are identical to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WARM_UP = 3
"""Number of calls before recording, in which libraries choose algorithms and allocate memory."""


class RecordingError(Exception):
    """The function cannot be recorded; the attempt has changed nothing."""


class Recorded:
    """A function of tensors as one CUDA graph.

    The tensors' shapes must be the same at every call. Any other tensor that the function reads or
    changes must keep its address. Returned values other than tensors must be the same at every
    call.
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        """Wrap `step`; the first `WARM_UP` calls run it directly."""
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Any] = []
        self._form = pytree.tree_structure(None)

    def __call__(self, *inputs: Any) -> Any:
        """Return the result of `step` for the inputs, which are tensors or mappings to tensors.

        Raises:
            RecordingError: `step` waits for the device or copies from it.
        """
        if self._calls < WARM_UP:
            self._calls += 1
            return self._run_on_side_stream(*inputs)
        if self._graph is None:
            self._graph = self._record(inputs)
        for kept, new in zip(self._inputs, _tensors(inputs), strict=True):
            kept.copy_(new, non_blocking=True)
        self._graph.replay()
        # The next replay overwrites the outputs of this one.
        outputs = [put.clone() if isinstance(put, Tensor) else put for put in self._outputs]
        return pytree.tree_unflatten(outputs, self._form)

    def _run_on_side_stream(self, *inputs: Any) -> Any:
        """Run `step` on a separate stream, as torch requires before a recording."""
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            result = self._step(*inputs)
        here.wait_stream(side)
        return result

    def _record(self, inputs: tuple[Any, ...]) -> torch.cuda.CUDAGraph:
        kept = [_copy(value) for value in inputs]
        self._inputs = _tensors(kept)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                result = self._step(*kept)
        except RuntimeError as error:
            _end_recording()
            raise RecordingError(str(error)) from error
        self._outputs, self._form = pytree.tree_flatten(result)
        return graph


def _tensors(inputs: Sequence[Any]) -> list[Tensor]:
    """List the tensors, those of a mapping by sorted key. (pytree takes ten times as long.)"""
    tensors: list[Tensor] = []
    for value in inputs:
        tensors += [value[key] for key in sorted(value)] if isinstance(value, Mapping) else [value]
    return tensors


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: tensor.clone() for key, tensor in value.items()}
    return value.clone()


def _end_recording() -> None:
    """Reset torch's generator, which a failed recording leaves in recording mode."""
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        torch.zeros((), device="cuda")
