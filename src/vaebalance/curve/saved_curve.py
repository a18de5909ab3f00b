"""Save and load a curve: weights as safetensors, its description as JSON, its rows as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing, write_csv, write_json
from vaebalance.base.provenance import Provenance, write_provenance
from vaebalance.curve.curves import AbstractCurve, ConditionedCurve, ContinuationCurve
from vaebalance.curve.trace import CurveRow
from vaebalance.vae.conditioning import ConditionedVAE, Conditioning
from vaebalance.vae.likelihoods import Likelihood
from vaebalance.vae.model import VAE, ModelSpec

FOLDER = Path("artifacts/curve")
WEIGHTS = "weights.safetensors"
DESCRIPTION = "curve.json"
TABLE = "curve.csv"
COMMAND = "vaebalance curve"


def save(
    folder: Path, curve: AbstractCurve, rows: Sequence[CurveRow], provenance: Provenance
) -> None:
    """Write a curve to `folder` atomically; the same curve gives the same bytes."""
    from safetensors.torch import save_file

    description, weights = _describe(curve)
    with replacing(folder) as temporary:
        temporary.mkdir()
        save_file(weights, temporary / WEIGHTS)
        write_json(temporary / DESCRIPTION, description)
        write_provenance(temporary, provenance)
        header = [field.name for field in fields(CurveRow)]
        write_csv(temporary / TABLE, header, (astuple(row) for row in rows))


def _describe(curve: AbstractCurve) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the curve's description as plain data, and its tensors by name."""
    if isinstance(curve, ConditionedCurve):
        model = curve.model
        kind = {
            "method": "conditioned",
            "conditioning": model.conditioning.model_dump(mode="json"),
            "low": model.low,
            "high": model.high,
        }
        return kind | _plain(model.vae), _stored(model.state_dict())
    assert isinstance(curve, ContinuationCurve)
    betas = [beta for beta, _ in curve.snapshots]
    weights = {
        f"{point}.{name}": value
        for point, (_, vae) in enumerate(curve.snapshots)
        for name, value in vae.state_dict().items()
    }
    kind = {"method": "continuation", "betas": betas}
    return kind | _plain(curve.snapshots[0][1]), _stored(weights)


def _plain(vae: VAE) -> dict[str, Any]:
    return {
        "image_shape": list(vae.image_shape),
        "likelihood": vae.likelihood.model_dump(mode="json"),
        "model": vae.spec.model_dump(mode="json"),
    }


def _stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}


def load_curve(folder: Path) -> AbstractCurve:
    """Load the curve in `folder`, on the CPU, in evaluation mode.

    Raises:
        UserError: there is no curve, or its files do not fit together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return _build(description, load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: no curve here; train one with `{COMMAND}`.") from error
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder}: the curve's files do not fit together ({error}); train it again with "
            f"`{COMMAND}`."
        ) from error


def _build(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> AbstractCurve:
    def plain() -> VAE:
        spec = ModelSpec.model_validate_json(json.dumps(description["model"]))
        likelihood = TypeAdapter(Likelihood).validate_json(json.dumps(description["likelihood"]))
        return VAE(spec, likelihood, tuple(description["image_shape"])).eval()

    if description["method"] == "conditioned":
        text = json.dumps(description["conditioning"])
        conditioning = TypeAdapter(Conditioning).validate_json(text)
        model = ConditionedVAE(plain(), conditioning, description["low"], description["high"])
        model.load_state_dict(dict(weights))
        return ConditionedCurve(model.eval())
    snapshots = []
    for point, beta in enumerate(description["betas"]):
        vae, prefix = plain(), f"{point}."
        state = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
        vae.load_state_dict(state)
        snapshots.append((beta, vae))
    return ContinuationCurve(tuple(snapshots))


def read_rows(folder: Path) -> list[CurveRow]:
    """Read the rows that `save` wrote.

    Raises:
        UserError: the table is missing or damaged.
    """
    path = folder / TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(cells) for cells in csv.DictReader(file)]
    except FileNotFoundError as error:
        raise UserError(f"{folder}: no curve here; train one with `{COMMAND}`.") from error
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not readable as a curve's table ({error}); train it again with `{COMMAND}`."
        ) from error


def _row(cells: Mapping[str, str]) -> CurveRow:
    values: dict[str, Any] = {}
    for name, kind in get_type_hints(CurveRow).items():
        if isinstance(kind, UnionType):  # a number, or nothing
            values[name] = float(cells[name]) if cells[name] else None
        else:
            values[name] = kind(cells[name])
    return CurveRow(**values)
