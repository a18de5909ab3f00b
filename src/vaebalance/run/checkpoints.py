"""The state of a training on disk, from which it resumes exactly. Read without pickled code."""

from __future__ import annotations

import math
import pickle
import sys
import time
import zipfile
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing
from vaebalance.base.reports import EpochReport
from vaebalance.training.loop import Learner


@dataclass(frozen=True)
class Checkpoint:
    """A training at an epoch's end. Random numbers are derived from (seed, epoch): none to keep."""

    fingerprint: str
    learner: dict[str, Any]
    best_weights: dict[str, Tensor]
    history: list[EpochReport]


SECONDS_BETWEEN = 1.0
"""Between two checkpoints, at least. (Written after each epoch of the digits, of 60 ms, they took a
tenth of the training.)"""


class Pace:
    """When a checkpoint is due."""

    def __init__(self, every: int) -> None:
        """Begin; `every` is `train.checkpoint_every`."""
        self._every = every
        self._last = -math.inf

    def is_due(self, epoch: int, *, is_over: bool) -> bool:
        """Whether to write one after `epoch`; always when the training is over."""
        now = time.monotonic()
        is_due = is_over or (epoch % self._every == 0 and now - self._last >= SECONDS_BETWEEN)
        if is_due:
            self._last = now
        return is_due


def learner_state(learner: Learner) -> dict[str, Any]:
    """Everything that training changes."""
    return {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "balance": learner.balance_state,
    }


def restore_learner(learner: Learner, state: dict[str, Any]) -> None:
    """Put a `learner_state` into a learner of the same settings."""
    learner.model.load_state_dict(state["model"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.balance_state = state["balance"]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint`, all or nothing."""
    state = {
        "learner": checkpoint.learner,
        "best_weights": checkpoint.best_weights,
        "history": [asdict(report) for report in checkpoint.history],
    }
    write_state(path, checkpoint.fingerprint, state)


def write_state(path: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Write tensors and plain data of the training that `fingerprint` names, all or nothing.

    The bytes depend on the values alone: see `canonical`.
    """
    with replacing(path) as temporary:
        torch.save(canonical({"fingerprint": fingerprint, **state}), temporary)


def canonical(state: Any) -> Any:
    """An equal state that `torch.save` always writes as the same bytes.

    They also tell which strings and tensors are one object and what storage a tensor is a part of,
    in which a training that was resumed differs from one that never stopped. Here equal strings are
    one object, and every tensor has its own storage, on the CPU.
    """
    if isinstance(state, str):
        return sys.intern(state)
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, list | tuple):
        return type(state)(canonical(value) for value in state)
    if isinstance(state, dict):
        rebuilt = type(state)((canonical(key), canonical(state[key])) for key in state)
        for name, value in vars(state).items() if isinstance(state, OrderedDict) else ():
            setattr(rebuilt, name, canonical(value))  # torch's versions of modules
        return rebuilt
    return state


def load_checkpoint(path: Path, fingerprint: str, device: torch.device) -> Checkpoint | None:
    """The checkpoint at `path`, or None when there is none of this training.

    Raises:
        UserError: the file cannot be read.
    """
    content = read_state(path, fingerprint, device)
    if content is None:
        return None
    history = [EpochReport.from_dict(values) for values in content["history"]]
    return Checkpoint(fingerprint, content["learner"], content["best_weights"], history)


def read_state(path: Path, fingerprint: str, device: torch.device) -> dict[str, Any] | None:
    """What `write_state` wrote, tensors on `device`; None when there is none of this training.

    Raises:
        UserError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        if not zipfile.is_zipfile(path):
            raise RuntimeError("it is no torch archive")
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path}: not a readable checkpoint ({error}); delete it to train from the start."
        ) from error
    return content if content["fingerprint"] == fingerprint else None


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A snapshot of a state dict that further training does not change."""
    return {name: value.detach().clone() for name, value in weights.items()}
