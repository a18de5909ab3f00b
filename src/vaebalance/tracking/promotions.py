"""promotion.json: which trial's values stand in params.yaml, and why.

It lies beside params.yaml and is committed with it, so that git history says of each choice where
it came from, and a clone or a copy of the project registers the same model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaebalance.errors import UserError
from vaebalance.files import write_json
from vaebalance.provenance import Provenance

FILE = "promotion.json"


@dataclass(frozen=True)
class Promotion:
    """A trial that was chosen."""

    study: str
    trial: int
    values: Mapping[str, float]  # the objective's numbers, by name
    point: Mapping[str, Any]  # the searched knobs
    why: str
    at: str  # UTC, ISO 8601
    params: Mapping[str, Any]  # what the train stage then reads
    dataset_digest: str

    def is_of(self, provenance: Provenance) -> bool:
        """Whether a model has these settings and data: after a later edit by hand, it has not."""
        return (
            self.params == provenance.params and self.dataset_digest == provenance.dataset["digest"]
        )


def write_promotion(folder: Path, promotion: Promotion) -> None:
    """Write promotion.json into `folder`, all or nothing."""
    write_json(folder / FILE, asdict(promotion))


def read_promotion(folder: Path) -> Promotion | None:
    """What promotion.json in `folder` says; None: nothing was promoted.

    Raises:
        UserError: it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return Promotion(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: not readable as a promotion ({error}); write it anew with `python "
            "pipelines/tune.py --promote`, or delete it: then no model is registered as promoted."
        ) from error
