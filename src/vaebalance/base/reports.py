"""Reports of a training, as plain numbers. Nats per image unless a name says otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.base.files import write_text
from vaebalance.base.verdicts import Verdict


@dataclass(frozen=True)
class SplitReport:
    """Means over a split."""

    distortion: float
    rate: float
    weighted_distortion: float
    weighted_rate: float
    weighted_loss: float  # with what the penalty adds
    negative_elbo: float
    alpha: float
    beta: float
    weighted_penalty: float = 0.0
    components: dict[str, float] = field(default_factory=dict)  # of the penalty, unweighted

    def metrics(self) -> dict[str, float]:
        """Return the numbers by name; those of a penalty only if there is one."""
        values: dict[str, float] = asdict(self) | self.components
        del values["components"]
        if not self.components:
            del values["weighted_penalty"]
        return values


@dataclass(frozen=True)
class PosteriorStats:
    """What a diagnosis reads of the validation split besides the terms."""

    rmse: float  # root mean squared error of a pixel, in pixel values
    predicted_sigma: float | None  # root of the mean variance of p(x|z); None: it is no density
    rate_by_latent: tuple[float, ...]  # [Z]
    sigma_by_latent: tuple[float, ...]  # [Z] root of the mean variance of q(z_j|x)

    def metrics(self) -> dict[str, float]:
        """Return the numbers of the whole split by name."""
        known = {"rmse": self.rmse, "predicted_sigma": self.predicted_sigma}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class GradientNorms:
    """Of each part of the loss over all parameters, on one validation batch."""

    distortion: float  # of α·D
    rate: float  # of β·R
    penalty: float | None = None  # of what it adds; None: there is none

    def metrics(self) -> dict[str, float]:
        """Return the norms by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class EpochReport:
    """The result of an epoch."""

    epoch: int  # from 1
    step: int  # optimizer updates so far
    train: SplitReport
    validation: SplitReport
    posterior_stats: PosteriorStats
    gradient_norms: GradientNorms
    learning_rate: float
    seconds: float  # of the epoch's training steps
    images_per_second: float
    finished_at: int  # Unix time in ms
    settled: bool = True  # the balance's schedule is over, or its controller holds its target
    finding: Verdict | None = None  # what keeps the balance from its target or schedule

    def metrics(self) -> dict[str, float]:
        """Return the deterministic numbers under their names in MLflow and in history.csv."""
        groups = {
            "train": self.train.metrics(),
            "validation": self.validation.metrics() | self.posterior_stats.metrics(),
            "gradient_norm": self.gradient_norms.metrics(),
        }
        return {
            **{
                f"{group}/{name}": value
                for group, values in groups.items()
                for name, value in values.items()
            },
            "learning_rate": self.learning_rate,
            "settled": float(self.settled),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EpochReport:
        """Invert `dataclasses.asdict`."""
        stats, finding = values["posterior_stats"], values["finding"]
        by_latent = {name: tuple(stats[name]) for name in ("rate_by_latent", "sigma_by_latent")}
        parts = {
            "train": SplitReport(**values["train"]),
            "validation": SplitReport(**values["validation"]),
            "posterior_stats": PosteriorStats(**{**stats, **by_latent}),
            "gradient_norms": GradientNorms(**values["gradient_norms"]),
            "finding": None if finding is None else Verdict(**finding),
        }
        return cls(**{**values, **parts})


@dataclass(frozen=True)
class CurveReport:
    """The result of an epoch of a curve's training, whatever the β of its images."""

    epoch: int  # from 1
    epochs: int  # planned
    train: SplitReport
    beta: float | None  # of the sweep at the epoch's end; None: each image had its own

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CurveReport:
        """Invert `dataclasses.asdict`."""
        return cls(**{**values, "train": SplitReport(**values["train"])})


@dataclass(frozen=True)
class StepReport:
    """The progress within an epoch, at most twice a second."""

    epoch: int
    batch: int  # batches done in this epoch
    batches: int  # batches in an epoch
    train: SplitReport  # means so far in this epoch
    images_per_second: float


def write_reports(path: Path, reports: Iterable[EpochReport]) -> None:
    """Write the reports of a training, an epoch a line."""
    lines = (json.dumps(asdict(report), ensure_ascii=False) for report in reports)
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_reports(path: Path) -> list[EpochReport]:
    """Read what `write_reports` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [EpochReport.from_dict(row) for row in rows]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run `dvc repro train` first.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); run `dvc repro --force train`."
        ) from error
