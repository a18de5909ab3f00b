"""Promotions: promotion.json, and the promoted model in the registry, models:/vaebalance@promoted.

promotion.json says which trial or place on a curve params.yaml comes from, and why. It stands
beside params.yaml and is committed with it, so that git history has the origin of each choice, and
a clone or a copy of the project registers the same model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebalance.base.errors import UserError
from vaebalance.base.files import write_json
from vaebalance.base.provenance import Provenance
from vaebalance.tracking.packaging import find_models
from vaebalance.tracking.store import Store, experiment_name

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

FILE = "promotion.json"
ALIAS = "promoted"
PROMOTED_AT = "promoted_at"
PROMOTED_FROM = "vaebalance.promoted_from"  # a tag of the run
ORIGINS = ("study", "trial", "curve", "method", "rule", "beta")
CURVE_VALUES = "curve/"
"""Prefix of tags that a later promotion of the same model from elsewhere removes."""
VERSIONS = "mlflow.modelVersions"  # MLflow's own tag
DESCRIPTION = (
    "Models that `vaebalance study --promote` or `vaebalance curve --promote` chose; the alias is "
    "on the one chosen last."
)


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
            self.diff or "params.yaml has these values already.",
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


def register(store: Store, run_id: str, promotion: Promotion) -> str | None:
    """Register the run's model once, and give the alias to the latest promotion.

    A stage of an older commit that runs again takes the alias from no later one.

    Returns:
        The model's address in the registry; None: the run has no model yet.
    """
    with store.lock():
        models = [m for m in find_models(store, run_id) if str(m.status) == "READY"]
        if not models:
            return None
        version = _find_or_create(store, run_id, models[0])
        _describe(store, run_id, version, promotion)
        if _take_alias(store, version, promotion):
            return f"models:/{version.name}@{ALIAS}"
        return f"models:/{version.name}/{version.version}"


def _find_or_create(store: Store, run_id: str, model: LoggedModel) -> ModelVersion:
    name, client = experiment_name(), store.client
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=DESCRIPTION)
    # Use the location: a store looks up `models:/<id>` in the process's default store, not in
    # itself. The location also identifies versions, since SQLite does not keep their model_id.
    location = model.artifact_location
    for version in client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'"):
        if version.source == location:
            return version
    version = client.create_model_version(name, location, run_id, model_id=model.model_id)
    client.set_logged_model_tags(model.model_id, {VERSIONS: _reference(version)})
    return version


def _reference(version: ModelVersion) -> str:
    """Return what MLflow's page of a logged model reads to name its version."""
    return json.dumps([{"name": version.name, "version": version.version}])


def _describe(store: Store, run_id: str, version: ModelVersion, promotion: Promotion) -> None:
    """Set the origin and the reason, unless a later promotion has."""
    if version.tags.get(PROMOTED_AT, "") >= promotion.at:
        return
    tags = {
        **promotion.origin,
        "why": promotion.why,
        **{name: repr(value) for name, value in promotion.values.items()},
        PROMOTED_AT: promotion.at,  # last, so that all tags are set again if this process is killed
    }
    for key in version.tags:
        if key not in tags and (key in ORIGINS or key.startswith(CURVE_VALUES)):
            store.client.delete_model_version_tag(version.name, version.version, key)
    origin = ", ".join(f"{key} {value}" for key, value in promotion.origin.items())
    store.client.set_tag(run_id, PROMOTED_FROM, origin)
    store.client.update_model_version(version.name, version.version, promotion.why)
    for key, value in tags.items():
        store.client.set_model_version_tag(version.name, version.version, key, value)


def _take_alias(store: Store, version: ModelVersion, promotion: Promotion) -> bool:
    """Move the alias to this version unless a later promotion has it; return whether it is here."""
    name = version.name
    holder = store.client.get_registered_model(name).aliases.get(ALIAS)
    if holder is not None and str(holder) != str(version.version):
        held = store.client.get_model_version(name, str(holder))
        if held.tags.get(PROMOTED_AT, "") > promotion.at:
            return False
    if str(holder) != str(version.version):
        store.client.set_registered_model_alias(name, ALIAS, version.version)
    return True
