"""`fetch`: a run's files out of the store, laid out as its pipeline wrote them; `fetch_curve`."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from vaebalance.base.errors import UserError
from vaebalance.tracking.curve_runs import CURVE_FOLDER
from vaebalance.tracking.packaging import NAME, find_models
from vaebalance.tracking.stages import MODEL, STAGES
from vaebalance.tracking.store import Store, open_store

WANTED = ("train", "evaluate")


def fetch(run_id: str, folder: Path) -> None:
    """Put what the stages train and evaluate left for the run, and its model, below `folder`.

    Raises:
        UserError: the run has no model.
    """
    store = open_store()
    for stage in WANTED:
        files = STAGES[stage]
        if files.metrics:
            _copy(store, run_id, f"metrics/{Path(files.metrics).name}", folder / files.metrics)
        for path, target in files.artifacts:
            # A folder is logged as its target, a file into it.
            _copy(store, run_id, target or Path(path).name, folder / path)
    _copy_model(store, run_id, folder / MODEL)


def fetch_curve(run_id: str, name: str, folder: Path) -> Path | None:
    """Put one file of a curve into `folder`; None: its run does not have it.

    Raises:
        UserError: it has, and the store does not give it.
    """
    from mlflow.exceptions import MlflowException

    target = folder / name
    try:
        _copy(open_store(), run_id, f"{CURVE_FOLDER}/{name}", target)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"{name} of the curve's run {run_id} cannot be read ({error}); write it again with "
            "`dvc repro --force curve/dvc.yaml`."
        ) from error
    return target if target.exists() else None


def _copy(store: Store, run_id: str, artifact: str, target: Path) -> None:
    """Copy a file or a folder of the run's artifacts, where it has it."""
    parent = str(PurePosixPath(artifact).parent)
    present = store.client.list_artifacts(run_id, None if parent == "." else parent)
    if any(file.path == artifact for file in present):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            Path(store.client.download_artifacts(run_id, artifact, temporary)).replace(target)


def _copy_model(store: Store, run_id: str, target: Path) -> None:
    from mlflow.artifacts import download_artifacts

    models = find_models(store, run_id)
    if not models:
        raise UserError(
            f"run {run_id} has no model in {store.uri}; run `dvc repro` with its params."
        )
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        found = download_artifacts(
            artifact_uri=f"{models[0].artifact_location}/artifacts/{NAME}",
            dst_path=temporary,
            tracking_uri=store.uri,
        )
        for file in Path(found).iterdir():
            file.replace(target / file.name)
