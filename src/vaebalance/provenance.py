"""Which settings, data and code a trained model comes from: one deterministic fingerprint.

A fingerprint and not a stored run id is a run's identity: it survives cached stages, lost tracking
stores and bit-identical re-training. The code that counts is what dvc.yaml declares as the train
stage's dependencies.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaebalance.errors import UserError
from vaebalance.files import write_json

FILE = "provenance.json"


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
    params: dict[str, Any],
    dataset: dict[str, Any],
    root: Path,
    stage: str,
    file: str = "dvc.yaml",
) -> Provenance:
    """Fingerprint settings and data with the code below `root` that a stage depends on."""
    return make_provenance(
        params, dataset, digest_code(root, stage_dependencies(root, stage, file))
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from a file: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def digest_code(root: Path, dependencies: list[str]) -> str:
    """SHA-256 over the Python files among `dependencies` (files and folders below `root`)."""
    digest = hashlib.sha256()
    paths = [root / dependency for dependency in dependencies]
    files = {f for path in paths for f in ([path] if path.is_file() else path.rglob("*.py"))}
    for path in sorted(file for file in files if file.suffix == ".py"):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def stage_dependencies(root: Path, stage: str, file: str = "dvc.yaml") -> list[str]:
    """The `deps` of a stage in dvc.yaml, or in another `file` of that name below `root`."""
    from ruamel.yaml import YAML

    text = (root / file).read_text(encoding="utf-8")
    dependencies: list[str] = YAML(typ="safe").load(text)["stages"][stage]["deps"]
    return dependencies


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
