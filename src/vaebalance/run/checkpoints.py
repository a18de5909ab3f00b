"""The state of a training on disk, from which it resumes exactly. Read without pickled code."""

from __future__ import annotations

import math
import pickle
import sys
import time
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing
from vaebalance.training.step import Learner

FORMAT = 2
"""Of the files; one of another format is refused."""


@dataclass(frozen=True)
class Checkpoint:
    """A training at an epoch's end. Random numbers are derived from (seed, epoch): none to keep."""

    fingerprint: str  # names the training
    state: dict[str, Any]  # everything that training changes: tensors and plain data
    history: list[dict[str, Any]]  # the reports so far


SECONDS_BETWEEN = 1.0
"""Between two checkpoints, at least. (Written after each epoch of the digits, of 60 ms, they took a
tenth of the training.)"""


class CheckpointTimer:
    """Decides when a checkpoint is due."""

    def __init__(self, every: int) -> None:
        """Begin; `every` is `train.checkpoint_every`."""
        self._every = every
        self._last = -math.inf

    def is_due(self, epoch: int, *, is_over: bool) -> bool:
        """Return whether to write one after `epoch`; always when the training is over."""
        now = time.monotonic()
        is_due = is_over or (epoch % self._every == 0 and now - self._last >= SECONDS_BETWEEN)
        if is_due:
            self._last = now
        return is_due


def learner_state(learner: Learner) -> dict[str, Any]:
    """Return everything that training changes."""
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
    """Write `checkpoint`, all or nothing; the bytes depend on the values alone."""
    content = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    with replacing(path) as temporary:
        torch.save(canonical({"format": FORMAT, **content}), temporary)


def canonical(state: Any) -> Any:
    """Return an equal state that `torch.save` always writes as the same bytes.

    A saved file also records which strings and tensors are one object and which storage a tensor
    belongs to; a resumed training differs in these from one that never stopped. In the state
    returned, equal strings are one object and every tensor has its own storage, on the CPU.
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
    """Read the checkpoint at `path`, its tensors onto `device`.

    None: there is none, or it is of another training.

    Raises:
        UserError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        content = _read(path, device)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path}: not a readable checkpoint ({error}); delete it to train from the start."
        ) from error
    checkpoint = Checkpoint(**content)
    return checkpoint if checkpoint.fingerprint == fingerprint else None


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise RuntimeError("it is not a torch archive")
    content = torch.load(path, map_location=device, weights_only=True)
    found = content.pop("format", 1) if isinstance(content, dict) else "unknown"
    if found != FORMAT or content.keys() != {field.name for field in fields(Checkpoint)}:
        raise RuntimeError(f"its format is {found}, and this version reads {FORMAT}")
    known: dict[str, Any] = content
    return known


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict, which further training then does not change."""
    return {name: value.detach().clone() for name, value in weights.items()}
