"""What an epoch did, as plain numbers. Nats per image unless a name says otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

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
        """The numbers by name; those of a penalty only where there is one."""
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
        """The numbers of the whole split by name."""
        known = {"rmse": self.rmse, "predicted_sigma": self.predicted_sigma}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class GradientNorms:
    """Of each part of the loss over all parameters, on one validation batch."""

    distortion: float  # of α·D
    rate: float  # of β·R
    penalty: float | None = None  # of what it adds; None: there is none

    def metrics(self) -> dict[str, float]:
        """The norms by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class EpochReport:
    """What an epoch did."""

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
    obstacle: Verdict | None = None  # what keeps the balance from what it was told

    def metrics(self) -> dict[str, float]:
        """The deterministic numbers under their names in MLflow and in history.csv."""
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
        """The inverse of `dataclasses.asdict`."""
        stats, obstacle = values["posterior_stats"], values["obstacle"]
        by_latent = {name: tuple(stats[name]) for name in ("rate_by_latent", "sigma_by_latent")}
        parts = {
            "train": SplitReport(**values["train"]),
            "validation": SplitReport(**values["validation"]),
            "posterior_stats": PosteriorStats(**{**stats, **by_latent}),
            "gradient_norms": GradientNorms(**values["gradient_norms"]),
            "obstacle": None if obstacle is None else Verdict(**obstacle),
        }
        return cls(**{**values, **parts})


@dataclass(frozen=True)
class Pulse:
    """A sign of life within an epoch, at most two a second."""

    epoch: int
    batch: int  # batches done in this epoch
    batches: int  # batches in an epoch
    train: SplitReport  # means so far in this epoch
    images_per_second: float
