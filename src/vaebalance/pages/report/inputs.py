"""The report's inputs: outputs of the earlier stages, read from disk."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vaebalance.base.best_epoch import Candidate, best_epoch
from vaebalance.base.errors import UserError
from vaebalance.base.provenance import Provenance, read_provenance
from vaebalance.base.verdicts import Verdict, read_verdicts
from vaebalance.data import Dataset, open_dataset
from vaebalance.evaluation.results import Codes, read_codes
from vaebalance.pages.figures.rate_distortion import OperatingPoint
from vaebalance.vae.model import VAE
from vaebalance.vae.saved_model import load_model

T = TypeVar("T")


@dataclass(frozen=True)
class Latent:
    """A row of rate_by_latent.csv."""

    index: int
    rate: float
    """Nats per image; NaN for the plain autoencoder."""
    variance: float
    """Var_x(E[z|x])."""
    active: bool

    @property
    def name(self) -> str:
        """The latent's name in figures."""
        return f"z{self.index}"


@dataclass(frozen=True)
class Evaluated:
    """A trained and evaluated model, without its data."""

    model: VAE
    provenance: Provenance
    history: dict[str, list[float]]
    """history.csv by column; one entry per epoch."""
    evaluation: dict[str, dict[str, Any]]
    """metrics/evaluation.json; None if a number does not apply."""
    latents: list[Latent]
    """Latents by decreasing rate, or by decreasing variance if they have no rate."""
    codes: Codes
    """Posterior moments of test images."""
    latent_rates: dict[str, list[float]] | None
    """latent_rates.csv by column, `epoch` and the latents' names; None if it was not kept."""
    verdicts: tuple[Verdict, ...] | None
    """Verdicts on the training; empty if it is healthy, None if no verdict was given."""

    @property
    def best(self) -> dict[str, float]:
        """The row of history.csv for the epoch whose weights the model has."""
        epochs = zip(*self.history.values(), strict=True)
        rows = [dict(zip(self.history, values, strict=True)) for values in epochs]
        return rows[best_epoch([Candidate.of(row) for row in rows])]


@dataclass(frozen=True)
class Inputs(Evaluated):
    """A trained and evaluated model with its data and comparable runs."""

    dataset: Dataset
    comparable_runs: tuple[OperatingPoint, ...] = ()
    """Other models of the same images and likelihood."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes; empty for unlabelled data."""
        return self.dataset.info.label_names or ()

    @property
    def is_binarised(self) -> bool:
        """Whether all pixels are 0 or 1."""
        return self.dataset.info.binarisation != "none"


def read_inputs(root: Path) -> Inputs:
    """Read the outputs of prepare, train and evaluate below `root`.

    Raises:
        UserError: an output is missing or damaged, or the model does not fit the data.
    """
    evaluated, dataset = read_evaluated(root), open_dataset(root / "data/prepared")
    model = evaluated.model
    if tuple(model.image_shape) != tuple(dataset.info.image_shape):
        raise UserError(
            f"the model expects images of {model.image_shape} (channels, height, width), but "
            f"{dataset.folder} has {dataset.info.image_shape}; run `dvc repro train` first."
        )
    return with_data(evaluated, dataset)


def with_data(evaluated: Evaluated, dataset: Dataset) -> Inputs:
    """Combine the model with the data that it was evaluated on."""
    return Inputs(**vars(evaluated), dataset=dataset)


def read_evaluated(root: Path) -> Evaluated:
    """Read the outputs of train and evaluate below `root`.

    Raises:
        UserError: an output is missing or damaged.
    """
    artifacts = root / "artifacts"
    return Evaluated(
        model=load_model(artifacts / "model"),
        provenance=read_provenance(artifacts / "model"),
        history=_read(artifacts / "history.csv", _read_columns, "train"),
        evaluation=_read(root / "metrics/evaluation.json", _read_json, "evaluate"),
        latents=_read(artifacts / "evaluation/rate_by_latent.csv", _read_latents, "evaluate"),
        codes=read_codes(artifacts / "evaluation"),
        latent_rates=_read_latent_rates(artifacts / "latent_rates.csv"),
        verdicts=_read_verdicts(artifacts / "verdicts.json"),
    )


def _read_latent_rates(path: Path) -> dict[str, list[float]] | None:
    """Read latent_rates.csv; None for runs in MLflow that are older than this file."""
    return _read(path, _read_columns, "train") if path.exists() else None


def _read_verdicts(path: Path) -> tuple[Verdict, ...] | None:
    """Read verdicts.json; None for runs in MLflow that are older than this file."""
    return tuple(read_verdicts(path)) if path.exists() else None


def _read(path: Path, reader: Callable[[Path], T], stage: str) -> T:
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run `dvc repro {stage}` first.") from error
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); run `dvc repro --force {stage}`."
        ) from error


def _read_json(path: Path) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError("no rows")
    return rows


def _read_columns(path: Path) -> dict[str, list[float]]:
    rows = _read_rows(path)
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def _read_latents(path: Path) -> list[Latent]:
    latents = [
        Latent(
            index=int(row["latent"]),
            rate=float(row["rate"] or "nan"),
            variance=float(row["variance_of_mean"]),
            active=row["active"] == "True",
        )
        for row in _read_rows(path)
    ]
    return sorted(latents, key=_most_first)


def _most_first(latent: Latent) -> tuple[float, int]:
    return -(latent.variance if math.isnan(latent.rate) else latent.rate), latent.index
