"""The promoted model in MLflow's registry: `models:/vaebalance@promoted`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vaebalance.tracking.packaging import find_models
from vaebalance.tracking.promotions import Promotion
from vaebalance.tracking.store import Store, experiment_name

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "promoted"
PROMOTED_AT = "promoted_at"
PROMOTED_FROM = "vaebalance.promoted_from"  # of the run
ORIGINS = ("study", "trial", "curve", "method", "rule", "beta")
CURVE_VALUES = "curve/"
"""What a later promotion of the same model, from elsewhere, takes away."""
VERSIONS = "mlflow.modelVersions"  # MLflow's own tag
DESCRIPTION = (
    "Models that `vaebalance study --promote` or `vaebalance curve --promote` chose; the alias is "
    "on the one chosen last."
)


def register(store: Store, run_id: str, promotion: Promotion) -> str | None:
    """Register the run's model, once; the alias goes to the promotion that is the latest.

    (A stage of an older commit, run again, takes it from none.)

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
    # By its place, since a store looks up `models:/<id>` in the process's default store, not in
    # itself; and the place tells versions apart, since SQLite does not keep their model_id.
    place = model.artifact_location
    for version in client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'"):
        if version.source == place:
            return version
    version = client.create_model_version(name, place, run_id, model_id=model.model_id)
    client.set_logged_model_tags(model.model_id, {VERSIONS: _reference(version)})
    return version


def _reference(version: ModelVersion) -> str:
    """What MLflow's page of a logged model reads to name its version."""
    return json.dumps([{"name": version.name, "version": version.version}])


def _describe(store: Store, run_id: str, version: ModelVersion, promotion: Promotion) -> None:
    """Say where it comes from and why it was chosen, unless a later promotion has."""
    if version.tags.get(PROMOTED_AT, "") >= promotion.at:
        return
    tags = {
        **promotion.origin,
        "why": promotion.why,
        **{name: repr(value) for name, value in promotion.values.items()},
        PROMOTED_AT: promotion.at,  # last: a killed process leaves none, and all is said again
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
    """Whether the alias is on the version now."""
    name = version.name
    holder = store.client.get_registered_model(name).aliases.get(ALIAS)
    if holder is not None and str(holder) != str(version.version):
        held = store.client.get_model_version(name, str(holder))
        if held.tags.get(PROMOTED_AT, "") > promotion.at:
            return False
    if str(holder) != str(version.version):
        store.client.set_registered_model_alias(name, ALIAS, version.version)
    return True
