"""Which settings, data and code a trained model comes from: one deterministic fingerprint.

A run is identified by this fingerprint, not by a stored run id: it survives cached stages, lost
tracking stores and bit-identical re-training. The code that counts is that of the rooms which DVC
tracks for the stage, read from the package that runs.
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
"""Whose code decides what a training comes to. As in dvc.yaml, which a test compares."""
CURVE_ROOMS = (*TRAINING_ROOMS, "curve", "evaluation", "objectives", "pages")
"""Whose code decides what a curve comes to. As in curve/dvc.yaml."""


@dataclass(frozen=True)
class Provenance:
    """Where a trained model comes from."""

    fingerprint: str
    params: dict[str, Any]  # the params.yaml sections that training reads
    dataset: dict[str, Any]  # name, digest, image_shape, splits, …
    code_digest: str


def make_provenance(
    params: dict[str, Any], dataset: dict[str, Any], code_digest: str
) -> Provenance:
    """Fingerprint settings, data and code; key order does not matter."""
    content = {"params": params, "dataset": dataset["digest"], "code": code_digest}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return Provenance(fingerprint, _plain(params), _plain(dataset), code_digest)


def stage_provenance(
    params: dict[str, Any], dataset: dict[str, Any], rooms: Sequence[str]
) -> Provenance:
    """Fingerprint settings and data with the code of some rooms of this package."""
    return make_provenance(params, dataset, digest_code(PACKAGE, rooms))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from a file: tuples are lists."""
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
        UserError: it is missing.
    """
    path = folder / FILE
    if not path.exists():
        raise UserError(f"{path} is missing; run `dvc repro train` first.")
    return Provenance(**json.loads(path.read_text(encoding="utf-8")))
