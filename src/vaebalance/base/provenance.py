"""The settings, data and code that a trained model comes from, and their fingerprint.

The fingerprint identifies a run instead of a stored run id, so it survives cached stages, lost
tracking stores and bit-identical re-training. It covers the code of the rooms that DVC tracks for
the stage, read from the running package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.base.files import write_json

FILE = "provenance.json"
PACKAGE = Path(__file__).resolve().parents[1]

TRAINING_ROOMS = ("balancing", "base", "data", "run", "training", "vae")
"""Rooms whose code affects a training; equal to the rooms in dvc.yaml, which a test checks."""
CURVE_ROOMS = (*TRAINING_ROOMS, "curve", "evaluation", "objectives")
"""Rooms whose code affects a curve; equal to the rooms in curve/dvc.yaml."""


@dataclass(frozen=True)
class Provenance:
    """Origin of a trained model."""

    fingerprint: str
    params: dict[str, Any]  # the params.yaml sections that training reads
    dataset: dict[str, Any]  # name, digest, image_shape, splits, …
    code_digest: str


def make_provenance(
    params: dict[str, Any], dataset: dict[str, Any], code_digest: str
) -> Provenance:
    """Compute the fingerprint of settings, data and code; the order of keys does not matter."""
    content = {"params": params, "dataset": dataset["digest"], "code": code_digest}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return Provenance(fingerprint, _plain(params), _plain(dataset), code_digest)


def stage_provenance(
    params: dict[str, Any], dataset: dict[str, Any], rooms: Sequence[str]
) -> Provenance:
    """Compute the fingerprint of settings, data and the code of `rooms` of this package."""
    return make_provenance(params, dataset, digest_code(PACKAGE, rooms))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values as JSON restores them, with lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def digest_code(package: Path, rooms: Sequence[str]) -> str:
    """Return the SHA-256 of all Python files in `rooms`, folders of `package`."""
    digest = hashlib.sha256()
    for path in sorted(file for room in rooms for file in (package / room).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write provenance.json into `folder`."""
    write_json(folder / FILE, asdict(provenance))


def read_provenance(folder: Path) -> Provenance:
    """Read provenance.json from `folder`.

    Raises:
        UserError: the file is missing.
    """
    path = folder / FILE
    if not path.exists():
        raise UserError(f"{path} is missing; run `dvc repro train` first.")
    return Provenance(**json.loads(path.read_text(encoding="utf-8")))
