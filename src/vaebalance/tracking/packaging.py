"""The trained model as MLflow serves it: safetensors and code, without pickles."""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vaebalance
from vaebalance.base.provenance import read_provenance
from vaebalance.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

NAME = "model"
DIGEST = "vaebalance.model_digest"
REQUIREMENTS = (
    "filelock",
    "mlflow",
    "numpy",
    "pandas",
    "pydantic",
    "safetensors",
    "torch",
    "tqdm",
)
"""Distributions needed to answer a request; our own code goes with the model."""


def log_model(store: Store, run_id: str, folder: Path, digest: str) -> None:
    """Log the model of `folder` to the run, unless the run has it completely.

    Remainders of a killed process, and a former model of the same run, are removed.
    """
    kept = [m for m in find_models(store, run_id) if _is_complete(store, m, digest)][:1]
    delete_models(store, run_id, keep={model.model_id for model in kept})
    if not kept:
        _log(store, run_id, folder, digest)


def delete_models(store: Store, run_id: str, keep: frozenset[str] | set[str] = frozenset()) -> None:
    """Delete the run's models except those with ids in `keep`."""
    for model in find_models(store, run_id):
        if model.model_id not in keep:
            store.client.delete_logged_model(model.model_id)


def find_models(store: Store, run_id: str) -> list[LoggedModel]:
    """List the models logged to the run; more than one only while another is being written."""
    models = store.client.search_logged_models(
        [store.experiment_id], f"source_run_id = '{run_id}' AND name = '{NAME}'"
    )
    return list(models)


def _is_complete(store: Store, model: LoggedModel, digest: str) -> bool:
    return (
        str(model.status) == "READY"
        and model.tags.get(DIGEST) == digest
        and any(
            f.path == "MLmodel" for f in store.client.list_logged_model_artifacts(model.model_id)
        )
    )


def _log(store: Store, run_id: str, folder: Path, digest: str) -> None:
    """Log like MLflow's `log_model`, but without its process-wide active run."""
    from mlflow import pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    model = store.client.create_logged_model(
        store.experiment_id,
        name=NAME,
        source_run_id=run_id,
        tags={DIGEST: digest},
        model_type="vae",
    )
    description = _description(folder)
    with tempfile.TemporaryDirectory(prefix="vaebalance-model-") as temporary:
        target = Path(temporary) / "model"
        pyfunc.save_model(
            target,
            python_model=Path(__file__).with_name("served_model.py"),
            artifacts={NAME: str(folder.absolute())},
            code_paths=[str(Path(vaebalance.__file__).parent)],
            pip_requirements=requirements(),
            signature=signature(),
            input_example=_example(description),
            metadata=description,
            mlflow_model=Model(run_id=run_id, model_id=model.model_id),
        )
        store.client.log_model_artifacts(model.model_id, str(target))
    store.client.finalize_logged_model(model.model_id, "READY")
    store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def requirements() -> list[str]:
    """List `name==version` as installed, without a build's local suffix (`+cpu`)."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _description(folder: Path) -> dict[str, Any]:
    """Describe the model: its settings, image shape and likelihood, and its data."""
    description: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    provenance = read_provenance(folder)
    return description | {"fingerprint": provenance.fingerprint, "dataset": provenance.dataset}


def _example(description: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a request to show in MLflow: decode the prior's centre."""
    centre = [0.0] * description["model"]["latent_size"]
    return {"latents": [centre]}, {"call": "decode"}


def signature() -> ModelSignature:
    """Return the schema of a request and its answer: see `serving`.

    Columns have type Any because images may be nested, grey without a channel, or flat, and because
    a call needs one of the columns or neither; `serving` checks them.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    def optional(*names: str) -> Schema:
        anything = AnyType()  # type: ignore[no-untyped-call]
        return Schema([ColSpec(anything, name, required=False) for name in names])

    params = [
        ParamSpec("call", DataType.string, default=""),
        ParamSpec("n", DataType.long, default=16),
        ParamSpec("seed", DataType.long, default=0),
    ]
    return ModelSignature(
        inputs=optional("images", "latents"),
        outputs=optional("images", "mean", "standard_deviation"),
        params=ParamSchema(params),
    )
