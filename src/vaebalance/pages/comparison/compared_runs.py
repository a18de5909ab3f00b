"""The data of each compared run, and which numbers are comparable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaebalance.data import Dataset
from vaebalance.evaluation.metrics import Row, rows
from vaebalance.pages.kit.words import shortened, weight
from vaebalance.pages.report.comparable_runs import weights_label
from vaebalance.pages.report.inputs import Evaluated, Inputs, read_evaluated, with_data
from vaebalance.tracking.points import flatten

NAME_LENGTH = 60
DIGEST_LENGTH = 16
LIKELIHOOD_UNITS = ("nats", "bits/dim")


@dataclass(frozen=True)
class ComparedRun:
    """One of the compared runs."""

    letter: str
    """Short name of the run on the page."""
    name: str
    evaluated: Evaluated
    inputs: Inputs | None
    """The run with its images; None if they are not available."""

    @property
    def title(self) -> str:
        """The run's letter and weights."""
        best = self.evaluated.best
        alpha, beta = best["validation/alpha"], best["validation/beta"]
        if not self.evaluated.model.is_variational:
            return f"{self.letter}: α {weight(alpha)}"
        return f"{self.letter}: {weights_label(alpha, beta)}"

    @property
    def digest(self) -> str:
        """Digest of the run's images."""
        return str(self.evaluated.provenance.dataset["digest"])

    @property
    def likelihood_key(self) -> str:
        """Key of the likelihood; D, bounds and nll are comparable between runs of equal keys."""
        likelihood = self.evaluated.model.likelihood
        if not likelihood.is_density:
            return "calibrated Gaussian"
        return json.dumps(likelihood.model_dump(mode="json"), sort_keys=True)

    @property
    def rows(self) -> dict[str, Row]:
        """Numbers of the evaluation by key."""
        return {row.key: row for row in rows(self.evaluated.evaluation)}


def read_compared_run(place: int, name: str, folder: Path, dataset: Dataset | None) -> ComparedRun:
    """Read the run whose files `tracking.fetch` wrote to `folder`.

    Args:
        place: index among the compared runs, from 0.
        name: name in MLflow.
        folder: folder of the run's files.
        dataset: the available images, which may be those of another run.
    """
    evaluated = read_evaluated(folder)
    digest = evaluated.provenance.dataset["digest"]
    images = dataset if dataset is not None and dataset.info.digest == digest else None
    return ComparedRun(
        chr(ord("A") + place),
        shortened(name, NAME_LENGTH),
        evaluated,
        with_data(evaluated, images) if images else None,
    )


def is_comparable(key: str, row: Row, runs: Sequence[ComparedRun]) -> bool:
    """Return whether the number is comparable across the runs.

    It is if the images are the same and, for nats of a likelihood, the likelihood is as well.
    """
    if len({run.digest for run in runs}) > 1:
        return False
    if not depends_on_likelihood(key, row):
        return True
    return len({run.likelihood_key for run in runs}) == 1


def depends_on_likelihood(key: str, row: Row) -> bool:
    """Return whether the number is in nats or bits of the model's own likelihood."""
    return (
        key.startswith("test/")
        and row.measure.unit in LIKELIHOOD_UNITS
        and not key.startswith("test/calibrated")
        and key != "test/rate"
    )


def best_runs(key: str, runs: Sequence[ComparedRun]) -> set[str]:
    """Return the letters of the runs with the best value; empty if no value is better."""
    rows = [(run.letter, run.rows[key]) for run in runs if key in run.rows]
    values = {letter: row.value for letter, row in rows if row.value is not None}
    if len(values) < 2:
        return set()
    row = rows[0][1]
    if row.measure.better is None or not is_comparable(key, row, runs):
        return set()
    best = (min if row.measure.better == "lower" else max)(values.values())
    letters = {letter for letter, value in values.items() if value == best}
    return set() if len(letters) == len(values) else letters


def settings(run: ComparedRun) -> dict[str, str]:
    """Return all settings of the run as text."""
    provenance = run.evaluated.provenance
    data = {key: provenance.dataset.get(key) for key in ("name", "binarisation")}
    values = {
        "data": data | {"digest": run.digest[:DIGEST_LENGTH]},
        **provenance.params,
        "evaluate": run.evaluated.evaluation.get("settings", {}),
        "code": provenance.code_digest[:DIGEST_LENGTH],
    }
    return {key: str(value) for key, value in flatten(values, ".").items()}
