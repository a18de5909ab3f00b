"""promotion.json: which trial's values, or which place on a curve, stand in params.yaml, and why.

It lies beside params.yaml and is committed with it, so that git history says of each choice where
it came from, and a clone or a copy of the project registers the same model.
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

FILE = "promotion.json"


@dataclass(frozen=True)
class CurveOrigin:
    """A place on a curve."""

    fingerprint: str  # of the curve, and of its run: the tag vaebalance.curve
    method: str
    rule: str  # by which the place was chosen
    beta: float  # at α = 1


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What was chosen: a study's trial, or a place on a curve."""

    study: str | None = None
    trial: int | None = None
    curve: CurveOrigin | None = None
    values: Mapping[str, float]  # the numbers by which it was chosen, by name
    point: Mapping[str, Any]  # the knobs that were written
    why: str
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
        """Whether a model has these settings and data: after a later edit by hand, it has not."""
        return (
            self.params == provenance.params and self.dataset_digest == provenance.dataset["digest"]
        )


def write_promotion(folder: Path, promotion: Promotion) -> None:
    """Write promotion.json into `folder`, all or nothing."""
    values = asdict(promotion)
    write_json(folder / FILE, {name: v for name, v in values.items() if v is not None})


def read_promotion(folder: Path) -> Promotion | None:
    """What promotion.json in `folder` says; None: nothing was promoted.

    Raises:
        UserError: it is damaged.
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
