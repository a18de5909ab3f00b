"""What an evaluation found, as plain data, and its files."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaebalance.errors import UserError
from vaebalance.files import replacing, write_json

RATE_BY_LATENT = "rate_by_latent.csv"
CODES = "codes.npz"


@dataclass(frozen=True, kw_only=True)
class SplitMetrics:
    """Means over the test split; in nats per image unless said. None: does not apply.

    The plain autoencoder has a code and no posterior, so neither a rate nor any bound on log p(x).
    """

    distortion: float
    rate: float | None = None
    negative_elbo: float | None = None
    importance_weighted_nll: float | None = None
    importance_weighted_nll_standard_error: float | None = None
    """Of the mean over images."""
    effective_sample_size: float | None = None
    """Of the K importance weights, averaged over images; near 1 the nll's bound is loose."""
    bits_per_dim: float | None = None
    """Of the nll, in bits per dimension, where p(x|z) is a probability mass."""
    calibrated_sigma: float | None = None
    """σ of the Gaussian, fitted on the validation split, that gives the nats above where the
    model's likelihood is no density; in pixel values."""
    rmse: float
    """Of each image, averaged; in pixel values. This and the next two: see `reconstructions`."""
    psnr: float
    """dB."""
    ssim: float | None = None


@dataclass(frozen=True)
class LatentMetrics:
    """Of the latent space."""

    active_units: int
    """Latents whose Var_x(E[z_j|x]) exceeds the threshold."""
    latent_size: int


@dataclass(frozen=True)
class MeasurementSettings:
    """What the numbers depend on besides the model."""

    images: int
    nll_samples: int
    distortion_samples: int
    active_threshold: float
    ssim_window: int | None
    """Pixels a side."""


@dataclass(frozen=True)
class LatentTable:
    """A row for each latent, in the model's order."""

    rate: NDArray[np.float64] | None  # [Z] nats per image
    variance_of_mean: NDArray[np.float64]  # [Z]
    active: NDArray[np.bool_]  # [Z]


@dataclass(frozen=True)
class Codes:
    """Posterior moments of some test images, for the report."""

    index: NDArray[np.int64]  # [M] position in the test split, ascending
    mean: NDArray[np.float32]  # [M, Z]
    std: NDArray[np.float32]  # [M, Z]
    label: NDArray[np.int64]  # [M], -1 where there is none


@dataclass(frozen=True)
class Evaluation:
    """What training did, measured on the test split."""

    test: SplitMetrics
    latents: LatentMetrics
    settings: MeasurementSettings
    latent_table: LatentTable
    codes: Codes

    def metrics(self) -> dict[str, float | None]:
        """The numbers under their names in MLflow."""
        groups = {"test": asdict(self.test), "latents": asdict(self.latents)}
        return {
            f"{group}/{name}": value
            for group, values in groups.items()
            for name, value in values.items()
        }

    def to_json(self) -> dict[str, Any]:
        """The content of metrics/evaluation.json."""
        return {
            "test": asdict(self.test),
            "latents": asdict(self.latents),
            "settings": asdict(self.settings),
        }


def refuse_non_finite(evaluation: Evaluation) -> Evaluation:
    """The evaluation itself.

    Raises:
        UserError: names the numbers that are NaN or infinite.
    """
    bad = {
        name: value
        for name, value in evaluation.metrics().items()
        if value is not None and not math.isfinite(value)
    }
    if bad:
        listed = ", ".join(f"{name} = {value}" for name, value in bad.items())
        raise UserError(
            f"evaluation: {listed}; must be finite. The model's outputs on the test split are out "
            "of range, or its reconstructions exact (psnr = inf). Train again with a lower "
            "train.learning_rate, or with weights in balance nearer to each other."
        )
    return evaluation


def write(evaluation: Evaluation, metrics: Path, folder: Path) -> None:
    """Write the numbers to `metrics` (JSON), the latent table and the codes into `folder`.

    The same evaluation writes the same bytes.
    """
    import pandas as pd

    table, codes = evaluation.latent_table, evaluation.codes
    columns = {"latent": np.arange(len(table.active)), **vars(table)}
    with replacing(folder) as temporary:
        temporary.mkdir()
        pd.DataFrame(columns).to_csv(temporary / RATE_BY_LATENT, index=False, lineterminator="\n")
        np.savez(temporary / CODES, **vars(codes))
    write_json(metrics, evaluation.to_json())


def read_codes(folder: Path) -> Codes:
    """The codes that `write` put into `folder`.

    Raises:
        UserError: they are missing.
    """
    path = folder / CODES
    if not path.exists():
        raise UserError(f"{path} is missing; run `dvc repro evaluate` first.")
    with np.load(path) as arrays:
        return Codes(**arrays)


def describe(evaluation: Evaluation, caution: str | None = None) -> str:
    """The outcome in words, with what a reader must know of the likelihood."""
    test, latents, settings = evaluation.test, evaluation.latents, evaluation.settings
    values = {
        "distortion D": test.distortion,
        "rate R": test.rate,
        "negative ELBO D + R": test.negative_elbo,
        "importance-weighted nll": test.importance_weighted_nll,
        "standard error of the nll": test.importance_weighted_nll_standard_error,
        f"effective samples of {settings.nll_samples}": test.effective_sample_size,
        "bits/dim of the nll": test.bits_per_dim,
        "calibrated σ, pixel values": test.calibrated_sigma,
        "RMSE, pixel values": test.rmse,
        "PSNR, dB": test.psnr,
        "SSIM": test.ssim,
    }
    lines = [f"test split, {settings.images:,} images; nats per image"]
    lines += [f"  {name:<26}{v:>12.4f}" for name, v in values.items() if v is not None]
    active = f"{latents.active_units} of {latents.latent_size}"
    threshold = f"Var_x(E[z|x]) > {settings.active_threshold:g}"
    lines.append(f"  {'active units':<26}{active:>12}  ({threshold})")
    if test.rate is None:
        lines.append("note: a plain autoencoder has no rate, and D alone bounds no log p(x).")
    return "\n".join([*lines, *([f"note: {caution}"] if caution else [])])
