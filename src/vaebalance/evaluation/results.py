"""What an evaluation found, as plain data, and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing, write_json
from vaebalance.evaluation.metrics import NATS, Row, rows

METRICS = "metrics.csv"
RATE_BY_LATENT = "rate_by_latent.csv"
FACTORS = "factors.csv"
CODES = "codes.npz"


@dataclass(frozen=True, kw_only=True)
class SplitMetrics:
    """Means over the test split; for the meaning and the unit of each number see `metrics`.

    The plain autoencoder has a code and no posterior, so neither a rate nor any bound on log p(x).
    """

    distortion: float
    rate: float | None = None
    negative_elbo: float | None = None
    importance_weighted_nll: float | None = None
    importance_weighted_nll_standard_error: float | None = None
    effective_sample_size: float | None = None
    bits_per_dim: float | None = None
    negative_elbo_bits_per_dim: float | None = None
    calibrated_sigma: float | None = None
    calibrated_nll: float | None = None
    calibrated_nll_standard_error: float | None = None
    calibrated_effective_sample_size: float | None = None
    rmse: float
    psnr: float
    ssim: float | None = None


@dataclass(frozen=True, kw_only=True)
class LatentMetrics:
    """Of the latent space. `…_null` is what as many draws of the prior itself show."""

    active_units: int
    latent_size: int
    mutual_information: float | None = None
    mutual_information_standard_error: float | None = None
    mutual_information_ceiling: float | None = None
    marginal_kl: float | None = None
    held_out_marginal_kl: float | None = None
    held_out_marginal_kl_standard_error: float | None = None
    mean_norm: float
    mean_norm_null: float
    covariance_deviation: float
    covariance_deviation_null: float
    smallest_variance: float
    smallest_variance_null: float
    largest_variance: float
    largest_variance_null: float
    energy_symmetry: float | None = None
    energy_symmetry_null: float | None = None
    energy_to_prior: float | None = None
    energy_to_prior_null: float | None = None
    precision: float | None = None
    precision_null: float | None = None
    recall: float | None = None
    recall_null: float | None = None
    density: float | None = None
    density_null: float | None = None
    coverage: float | None = None
    coverage_null: float | None = None
    two_sample_accuracy: float | None = None
    two_sample_accuracy_standard_error: float | None = None
    two_sample_accuracy_chance: float | None = None
    probe_accuracy: float | None = None
    probe_accuracy_standard_error: float | None = None
    probe_accuracy_chance: float | None = None


@dataclass(frozen=True, kw_only=True)
class SampleMetrics:
    """Decoded prior samples against test images; `…_floor` is of training images in their place."""

    frechet: float
    frechet_floor: float
    precision: float
    precision_floor: float
    recall: float
    recall_floor: float
    density: float
    density_floor: float
    coverage: float
    coverage_floor: float


@dataclass(frozen=True, kw_only=True)
class DisentanglementMetrics:
    """Of the posterior means against known factors of variation, each in [0, 1]."""

    mig: float
    dci_disentanglement: float
    dci_completeness: float
    dci_informativeness: float
    sap: float
    modularity: float
    factor_vae: float
    beta_vae: float


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings:
    """What the numbers depend on besides the model, and how they were estimated, in words."""

    images: int
    """Test images."""
    nll_samples: int
    distortion_samples: int
    active_threshold: float
    ssim_window: int | None
    """Pixels a side."""
    nats_of: str
    """Whose density distortion, negative ELBO and nll are of."""
    latent_images: int
    """Test images behind the numbers of the latent space from the mutual information on."""
    training_codes: int
    """Training images whose codes the held-out marginal KL and the probe learn from."""
    neighbours: int
    """The k of precision, recall, density and coverage."""
    mutual_information_estimator: str | None = None
    held_out_density: str | None = None
    """What the held-out marginal KL fitted to the training codes."""
    sample_images: int | None = None
    """Prior samples, test images and training images that are compared."""
    prior_samples: str | None = None
    """Whether prior samples are means or draws of p(x|z), and why."""
    feature_spaces: dict[str, str] | None = None
    """What the spaces are in which they are compared."""
    disentanglement: str | None = None
    """Images and sample counts of the metrics."""


@dataclass(frozen=True)
class LatentTable:
    """A row for each latent, in the model's order."""

    rate: NDArray[np.float64] | None  # [Z] nats per image
    aggregate_mean: NDArray[np.float64]  # [Z] of the aggregate posterior
    aggregate_variance: NDArray[np.float64]  # [Z] of the aggregate posterior
    variance_of_mean: NDArray[np.float64]  # [Z]
    active: NDArray[np.bool_]  # [Z]


@dataclass(frozen=True)
class FactorTable:
    """How each latent goes with each factor of variation."""

    factors: tuple[str, ...]  # [F]
    mutual_information: NDArray[np.float64]  # [Z, F] nats
    importance: NDArray[np.float64]  # [Z, F] of the latent in DCI's trees


@dataclass(frozen=True)
class Codes:
    """Posterior moments of some test images, for the report."""

    index: NDArray[np.int64]  # [M] position in the test split, ascending
    mean: NDArray[np.float32]  # [M, Z]
    std: NDArray[np.float32]  # [M, Z]
    label: NDArray[np.int64]  # [M], -1 where there is none


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What training did, measured on the test split."""

    test: SplitMetrics
    latents: LatentMetrics
    samples: Mapping[str, SampleMetrics] | None
    """In each feature space; None when it is switched off."""
    disentanglement: DisentanglementMetrics | None
    """None where no factors are known."""
    settings: MeasurementSettings
    latent_table: LatentTable
    factor_table: FactorTable | None
    codes: Codes
    seconds: Mapping[str, float]
    """Wall time of each part. In no file that must not change."""

    def metrics(self) -> dict[str, float | None]:
        """The numbers under their names in MLflow: {"test/rate": 1.0, …}; None: does not apply."""
        content = self.to_json()
        del content["settings"]
        return _flatten(content)

    def to_json(self) -> dict[str, Any]:
        """The content of metrics/evaluation.json."""
        sections = ("test", "latents", "samples", "disentanglement", "settings")
        return {name: value for name, value in asdict(self).items() if name in sections}


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    flat: dict[str, float | None] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


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
    """Write the numbers to `metrics` (JSON), tables and codes into `folder`.

    The same evaluation writes the same bytes.
    """
    content, codes = evaluation.to_json(), evaluation.codes
    with replacing(folder) as temporary:
        temporary.mkdir()
        _write_table(temporary / METRICS, _metrics_table(content))
        _write_table(temporary / RATE_BY_LATENT, _latent_table(evaluation.latent_table))
        if evaluation.factor_table is not None:
            _write_table(temporary / FACTORS, _factor_table(evaluation.factor_table))
        np.savez(temporary / CODES, **vars(codes))
    write_json(metrics, content)


def write_seconds(evaluation: Evaluation, path: Path) -> None:
    """Write the wall time of each part and its share as CSV; no two runs give the same."""
    total = sum(evaluation.seconds.values())
    with replacing(path) as temporary:
        columns = {
            "part": list(evaluation.seconds),
            "seconds": [round(seconds, 4) for seconds in evaluation.seconds.values()],
            "share": [round(seconds / total, 4) for seconds in evaluation.seconds.values()],
        }
        _write_table(temporary, columns)


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    import pandas as pd

    pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n")


def _metrics_table(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A line for each number, with its name, unit and what to hold it against."""
    found = rows(content)
    return {
        "metric": [row.key for row in found],
        "name": [row.measure.name for row in found],
        "feature_space": [row.space for row in found],
        "value": [row.value for row in found],
        "standard_error": [row.standard_error for row in found],
        "reference": [row.reference for row in found],
        "reference_is": [row.reference_name for row in found],
        "unit": [row.measure.unit for row in found],
        "better": [row.measure.better for row in found],
    }


def _latent_table(table: LatentTable) -> dict[str, Any]:
    return {"latent": np.arange(len(table.active)), **vars(table)}


def _factor_table(table: FactorTable) -> dict[str, Any]:
    """A line for each latent and factor."""
    latents, factors = table.mutual_information.shape
    return {
        "latent": np.repeat(np.arange(latents), factors),
        "factor": list(table.factors) * latents,
        "mutual_information": table.mutual_information.ravel(),
        "importance": table.importance.ravel(),
    }


def read_codes(folder: Path) -> Codes:
    """The codes that `write` put into `folder`.

    Raises:
        UserError: they are missing or not finite.
    """
    path = folder / CODES
    if not path.exists():
        raise UserError(f"{path} is missing; run `dvc repro evaluate` first.")
    with np.load(path) as arrays:
        codes = Codes(**arrays)
    if not (np.isfinite(codes.mean).all() and np.isfinite(codes.std).all()):
        raise UserError(
            f"{path} has codes that are NaN or infinite; they must be finite. Train again with a "
            "lower train.learning_rate, and then run `dvc repro`."
        )
    return codes


def describe(evaluation: Evaluation, caution: str | None = None) -> str:
    """The outcome in words, with what a reader must know of the likelihood."""
    settings = evaluation.settings
    lines = [f"test split, {settings.images:,} images; nats are per image, of {settings.nats_of}"]
    for (section, space), found in groupby(rows(evaluation.to_json()), lambda r: r[1:3]):
        lines.append(f"{section}, {space}:" if space else f"{section}:")
        lines += [_line(row) for row in found if row.value is not None]
    lines += [f"note: {note}" for note in _notes(evaluation, caution)]
    total = sum(evaluation.seconds.values())
    parts = (f"{name} {seconds:.1f}" for name, seconds in evaluation.seconds.items())
    return "\n".join([*lines, f"{total:.1f} s: {', '.join(parts)}"])


def _line(row: Row) -> str:
    value = f"{row.value:>12,}" if isinstance(row.value, int) else f"{row.value:>12.4f}"
    unit = "" if row.measure.unit == NATS else f" {row.measure.unit}"
    remarks = [] if row.standard_error is None else [f"± {row.standard_error:.4f}"]
    if row.reference is not None:
        remarks.append(f"{row.reference_name}: {row.reference:.4f}")
    text = f"  {row.measure.name:<42}{value}{unit}"
    return text + (f"  ({'; '.join(remarks)})" if remarks else "")


def _notes(evaluation: Evaluation, caution: str | None) -> Iterator[str]:
    """What the numbers rest on."""
    settings = evaluation.settings
    if evaluation.test.rate is None:
        yield "a plain autoencoder has no rate, and D alone bounds no log p(x)."
    else:
        yield f"K = {settings.nll_samples} samples an image; mutual information: " + (
            settings.mutual_information_estimator or ""
        )
    yield f"active: Var_x(E[z|x]) > {settings.active_threshold:g}"
    if settings.prior_samples is not None:
        yield f"{settings.sample_images:,} prior samples are {settings.prior_samples}"
    if settings.disentanglement is not None:
        yield f"disentanglement: {settings.disentanglement}"
    if caution:
        yield caution
