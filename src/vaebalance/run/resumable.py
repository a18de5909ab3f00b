"""A training that is iterated for its reports, keeps a checkpoint and resumes from it exactly."""

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
    """Epochs if nothing stops it early."""

    def __init__(self, planned_epochs: int, checkpoint_every: int, fingerprint: str = "") -> None:
        self.planned_epochs = planned_epochs
        self.history = []
        self._timer = CheckpointTimer(checkpoint_every)
        self._path: Path | None = None
        self._fingerprint = fingerprint

    def resume(self, path: Path, fingerprint: str) -> None:
        """Go on from the checkpoint at `path`, if it is of this training, and keep one there.

        It is written every `train.checkpoint_every` epochs (see `CheckpointTimer`), and at the end.

        Raises:
            UserError: the file cannot be read.
        """
        self._path, self._fingerprint = path, fingerprint
        found = load_checkpoint(path, fingerprint, self.device)
        if found is not None:
            self.history = [self._report_from(values) for values in found.history]
            self._restore(found.state)

    def __iter__(self) -> Generator[StepReport | Report]:
        """Iterate over the reports, those before a resume first, then new ones as it trains.

        Raises:
            NonFiniteError: a term became NaN or infinite.
        """
        return self.taking(self._train(len(self.history)))

    def taking(
        self, new: Generator[StepReport | Report] | Generator[Report]
    ) -> Generator[StepReport | Report]:
        """Iterate over the reports so far, then over those of `new`, which trains this training.

        `new` is closed at the end, also at an early one, and before the last report is given.
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
        """Whether all epochs are trained, or it stopped early."""
        return len(self.history) >= self.planned_epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether it ended before its last epoch."""
        return False

    @property
    def verdicts_so_far(self) -> list[Verdict]:
        """What has been wrong for some epochs of a training that goes on."""
        return []

    @property
    def status(self) -> str:
        """How the steps run, where that is worth a line to the user; else empty."""
        return ""

    def checkpoint(self) -> Checkpoint:
        """Return the state at the last epoch's end."""
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
        """Where it is trained."""

    @abstractmethod
    def _train(self, epochs_done: int) -> Generator[StepReport | Report]:
        """Train for the epochs after `epochs_done`."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return everything that training changes, but for `history`."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """Put a `_state` into this training, which is of the same settings."""

    @abstractmethod
    def _report_from(self, values: dict[str, Any]) -> Report:
        """Return a report from its `asdict`."""
