"""What is compared of a run, and which numbers compare."""

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
class Contender:
    """One of the runs."""

    letter: str
    """By which the page calls it."""
    name: str
    evaluated: Evaluated
    inputs: Inputs | None
    """With its images, where they are at hand."""

    @property
    def title(self) -> str:
        """Letter and weights."""
        best = self.evaluated.best
        alpha, beta = best["validation/alpha"], best["validation/beta"]
        if not self.evaluated.model.is_variational:
            return f"{self.letter}: α {weight(alpha)}"
        return f"{self.letter}: {weights_label(alpha, beta)}"

    @property
    def digest(self) -> str:
        """Of its images."""
        return str(self.evaluated.provenance.dataset["digest"])

    @property
    def nats_of(self) -> str:
        """Whose nats its D, bounds and nll are: those of one likelihood compare."""
        likelihood = self.evaluated.model.likelihood
        if not likelihood.is_density:
            return "calibrated Gaussian"
        return json.dumps(likelihood.model_dump(mode="json"), sort_keys=True)

    @property
    def rows(self) -> dict[str, Row]:
        """The evaluation's numbers by key."""
        return {row.key: row for row in rows(self.evaluated.evaluation)}


def contender(place: int, name: str, folder: Path, dataset: Dataset | None) -> Contender:
    """The run whose files `tracking.fetch` laid out in `folder`.

    Args:
        place: among the runs, from 0.
        name: in MLflow.
        folder: of its files.
        dataset: the images at hand, be they the run's or not.
    """
    evaluated = read_evaluated(folder)
    digest = evaluated.provenance.dataset["digest"]
    own = dataset if dataset is not None and dataset.info.digest == digest else None
    return Contender(
        chr(ord("A") + place),
        shortened(name, NAME_LENGTH),
        evaluated,
        with_data(evaluated, own) if own else None,
    )


def compares(key: str, row: Row, contenders: Sequence[Contender]) -> bool:
    """Whether the number means the same for all of them.

    That is: of the same images and, if in nats of a likelihood, of the same likelihood.
    """
    if len({c.digest for c in contenders}) > 1:
        return False
    if not depends_on_likelihood(key, row):
        return True
    return len({c.nats_of for c in contenders}) == 1


def depends_on_likelihood(key: str, row: Row) -> bool:
    """Whether the number is in nats, or bits, of the model's own likelihood."""
    return (
        key.startswith("test/")
        and row.measure.unit in LIKELIHOOD_UNITS
        and not key.startswith("test/calibrated")
        and key != "test/rate"
    )


def best(key: str, contenders: Sequence[Contender]) -> set[str]:
    """The letters of the runs with the best value, where there is a better and it compares."""
    found = [(c.letter, c.rows[key]) for c in contenders if key in c.rows]
    values = {letter: row.value for letter, row in found if row.value is not None}
    if len(values) < 2:
        return set()
    row = found[0][1]
    if row.measure.better is None or not compares(key, row, contenders):
        return set()
    best = (min if row.measure.better == "lower" else max)(values.values())
    letters = {letter for letter, value in values.items() if value == best}
    return set() if len(letters) == len(values) else letters


def settings(contender: Contender) -> dict[str, str]:
    """Everything that was set, as text."""
    provenance = contender.evaluated.provenance
    data = {key: provenance.dataset.get(key) for key in ("name", "binarisation")}
    values = {
        "data": data | {"digest": contender.digest[:DIGEST_LENGTH]},
        **provenance.params,
        "evaluate": contender.evaluated.evaluation.get("settings", {}),
        "code": provenance.code_digest[:DIGEST_LENGTH],
    }
    return {key: str(value) for key, value in flatten(values, ".").items()}
