"""Read and write promotion.json: which trial or place on a curve params.yaml comes from, and why.

The file stands beside params.yaml and is committed with it, so that git history has the origin of
each choice, and a clone or a copy of the project registers the same model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.base.files import write_json
from vaebalance.base.provenance import Provenance
from vaebalance.settings.params_file import NAME

FILE = "promotion.json"


@dataclass(frozen=True)
class CurveOrigin:
    """A place on a curve."""

    fingerprint: str  # of the curve and of its run: the tag vaebalance.curve
    method: str
    rule: str  # the rule that chose the place
    beta: float  # at α = 1


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A choice to promote: a study's trial or a place on a curve."""

    study: str | None = None
    trial: int | None = None
    curve: CurveOrigin | None = None
    values: Mapping[str, float]  # the numbers by which it was chosen, by name
    point: Mapping[str, Any]  # the knobs to write
    why: str


@dataclass(frozen=True, kw_only=True)
class Promotion(Selection):
    """A selection that was written to params.yaml."""

    at: str  # UTC, ISO 8601
    params: Mapping[str, Any]  # what the train stage then reads
    dataset_digest: str

    @property
    def origin(self) -> dict[str, str]:
        """Where it comes from, as tags."""
        if self.curve is None:
            return {"study": str(self.study), "trial": str(self.trial)}
        return {
            "curve": self.curve.fingerprint,
            "method": self.curve.method,
            "rule": self.curve.rule,
            "beta": repr(self.curve.beta),
        }

    def is_of(self, provenance: Provenance) -> bool:
        """Return whether a model has these settings and data: not after a later edit by hand."""
        return (
            self.params == provenance.params and self.dataset_digest == provenance.dataset["digest"]
        )


@dataclass(frozen=True)
class Promoted:
    """What a promotion did."""

    promotion: Promotion
    diff: str  # of params.yaml, unified; empty: it had these values already
    address: str | None  # of the model in MLflow's registry; None: it is not trained yet

    def report(self, prefix: str = "") -> str:
        """Report the reason, the changes and how to train; `prefix` precedes the command."""
        registers = ", which registers the model" if self.address is None else ""
        lines = [
            self.promotion.why,
            self.diff or f"{NAME} has these values already.",
            f"Train with it: `{prefix}dvc repro`{registers}.",
        ]
        if self.address is not None:
            lines.append(f"It was trained before, and is {self.address} in MLflow's registry.")
        return "\n".join(lines)


def write_promotion(folder: Path, promotion: Promotion) -> None:
    """Write promotion.json into `folder`, all or nothing."""
    values = asdict(promotion)
    write_json(folder / FILE, {name: v for name, v in values.items() if v is not None})


def read_promotion(folder: Path) -> Promotion | None:
    """Read promotion.json from `folder`; None: nothing was promoted.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        curve = CurveOrigin(**values["curve"]) if "curve" in values else None
        return Promotion(**{**values, "curve": curve})
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: not readable as a promotion ({error}); write it anew with `vaebalance study "
            "--promote` or `vaebalance curve --promote`, or delete it: then no model is registered "
            "as promoted."
        ) from error
