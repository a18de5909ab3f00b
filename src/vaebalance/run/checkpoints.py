"""Save and load the state of a training, from which it resumes exactly.

Loading runs no pickled code.
"""

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
"""Format version of the files; other versions are refused."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training at the end of an epoch.

    It has no random state, since random numbers are derived from (seed, epoch).
    """

    fingerprint: str  # identifies the training
    state: dict[str, Any]  # everything that training changes: tensors and plain data
    history: list[dict[str, Any]]  # the reports so far


SECONDS_BETWEEN = 1.0
"""Minimum time between two checkpoints. (For the digits, with epochs of 60 ms, a checkpoint after
each epoch takes a tenth of the training.)"""


class CheckpointTimer:
    """Decides when a checkpoint is due."""

    def __init__(self, every: int) -> None:
        """Start the timer; `every` is `train.checkpoint_every`, in epochs."""
        self._every = every
        self._last = -math.inf

    def is_due(self, epoch: int, *, is_over: bool) -> bool:
        """Return whether to write a checkpoint after `epoch`: always if the training is over."""
        now = time.monotonic()
        is_due = is_over or (epoch % self._every == 0 and now - self._last >= SECONDS_BETWEEN)
        if is_due:
            self._last = now
        return is_due


def learner_state(learner: Learner) -> dict[str, Any]:
    """Return the state that training changes, except for the history."""
    return {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "balance": learner.balance_state,
    }


def restore_learner(learner: Learner, state: dict[str, Any]) -> None:
    """Load a `learner_state` into a learner with the same settings."""
    learner.model.load_state_dict(state["model"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.balance_state = state["balance"]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` atomically; the bytes depend on its values only."""
    content = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    with replacing(path) as temporary:
        torch.save(canonical({"format": FORMAT, **content}), temporary)


def canonical(state: Any) -> Any:
    """Return an equal state that `torch.save` always writes as the same bytes.

    A saved file also records which strings and tensors are the same object and which storage a
    tensor belongs to. A resumed training differs in these from an uninterrupted one. In the
    returned state, equal strings are the same object and every tensor has its own storage, on the
    CPU.
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
            setattr(rebuilt, name, canonical(value))  # torch's `_metadata`
        return rebuilt
    return state


def load_checkpoint(path: Path, fingerprint: str, device: torch.device) -> Checkpoint | None:
    """Read the checkpoint at `path` with its tensors on `device`.

    Returns:
        The checkpoint; None: the file does not exist, or belongs to another training.

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
    version = content.pop("format", 1) if isinstance(content, dict) else "unknown"
    if version != FORMAT or content.keys() != {field.name for field in fields(Checkpoint)}:
        raise RuntimeError(f"its format is {version}, and this version reads {FORMAT}")
    known: dict[str, Any] = content
    return known


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict, so that further training does not change it."""
    return {name: value.detach().clone() for name, value in weights.items()}
