"""A training that yields reports, writes checkpoints and resumes from them exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from vaebalance.base.reports import CurveReport, EpochReport, StepReport
from vaebalance.base.verdicts import Verdict
from vaebalance.run.checkpoints import Checkpoint, CheckpointTimer, load_checkpoint, save_checkpoint

Report = TypeVar("Report", EpochReport, CurveReport)


class ResumableTraining(ABC, Generic[Report]):
    """A training of a stage, a trial or a curve. Iterating it trains."""

    history: list[Report]
    """The reports so far."""
    planned_epochs: int
    """Number of epochs if nothing stops the training early."""

    def __init__(self, planned_epochs: int, checkpoint_every: int, fingerprint: str = "") -> None:
        self.planned_epochs = planned_epochs
        self.history = []
        self._timer = CheckpointTimer(checkpoint_every)
        self._path: Path | None = None
        self._fingerprint = fingerprint

    def resume(self, path: Path, fingerprint: str) -> None:
        """Resume from the checkpoint at `path` if it belongs to this training.

        Later checkpoints are written to the same path, every `train.checkpoint_every` epochs (see
        `CheckpointTimer`) and at the end.

        Raises:
            UserError: the file cannot be read.
        """
        self._path, self._fingerprint = path, fingerprint
        checkpoint = load_checkpoint(path, fingerprint, self.device)
        if checkpoint is not None:
            self.history = [self._report_from(values) for values in checkpoint.history]
            self._restore(checkpoint.state)

    def __iter__(self) -> Generator[StepReport | Report]:
        """Iterate over the reports: first those before a resume, then new ones while training.

        Raises:
            NonFiniteError: a term became NaN or infinite.
        """
        return self.taking(self._train(len(self.history)))

    def taking(
        self, new: Generator[StepReport | Report] | Generator[Report]
    ) -> Generator[StepReport | Report]:
        """Iterate over the reports so far, then over those of `new`, which does the training.

        `new` is closed before the last report is yielded, and also if the iteration ends early.
        """
        yield from tuple(self.history)
        with closing(new):
            for report in () if self.is_over else new:
                if not isinstance(report, StepReport):
                    self._record(report)
                if self.is_over:
                    new.close()
                yield report

    @property
    def is_over(self) -> bool:
        """Whether all epochs are trained or the training stopped early."""
        return len(self.history) >= self.planned_epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before its last planned epoch."""
        return False

    @property
    def verdicts_so_far(self) -> list[Verdict]:
        """Problems that have lasted for some epochs, while the training goes on."""
        return []

    @property
    def status(self) -> str:
        """How the steps run, if the user should know; else empty."""
        return ""

    def checkpoint(self) -> Checkpoint:
        """Return the state at the end of the last epoch."""
        return Checkpoint(
            self._fingerprint, self._state(), [asdict(report) for report in self.history]
        )

    def _record(self, report: Report) -> None:
        self.history.append(report)
        if self._path and self._timer.is_due(report.epoch, is_over=self.is_over):
            save_checkpoint(self._path, self.checkpoint())

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the training."""

    @abstractmethod
    def _train(self, epochs_done: int) -> Generator[StepReport | Report]:
        """Train the epochs after `epochs_done`."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return the state that training changes, except for `history`."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """Load a `_state` of a training with the same settings."""

    @abstractmethod
    def _report_from(self, values: dict[str, Any]) -> Report:
        """Build a report from its `asdict`."""
