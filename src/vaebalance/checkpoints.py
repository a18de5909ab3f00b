"""The state of a training on disk, from which it resumes exactly. Read without pickled code."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebalance.epochs import EpochReport
from vaebalance.errors import UserError
from vaebalance.files import replacing
from vaebalance.training import Learner


@dataclass(frozen=True)
class Checkpoint:
    """A training at an epoch's end. Random numbers are derived from (seed, epoch): none to keep."""

    fingerprint: str
    learner: dict[str, Any]
    best_weights: dict[str, Tensor]
    history: list[EpochReport]


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
    content = {
        "fingerprint": checkpoint.fingerprint,
        "learner": checkpoint.learner,
        "best_weights": checkpoint.best_weights,
        "history": [asdict(report) for report in checkpoint.history],
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path, fingerprint: str, device: torch.device) -> Checkpoint | None:
    """The checkpoint at `path`, or None when there is none of this training.

    Raises:
        UserError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        if not zipfile.is_zipfile(path):
            raise RuntimeError("it is no torch archive")
        content = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path}: not a readable checkpoint ({error}); delete it to train from the start."
        ) from error
    if content["fingerprint"] != fingerprint:
        return None
    history = [EpochReport.from_dict(values) for values in content["history"]]
    return Checkpoint(fingerprint, content["learner"], content["best_weights"], history)


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A snapshot of a state dict that further training does not change."""
    return {name: value.detach().clone() for name, value in weights.items()}
