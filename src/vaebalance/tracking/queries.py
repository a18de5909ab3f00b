"""Queries of the store: `runs`, `trials` and `curves` as plain data; `fetch` their files."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vaebalance.base.errors import UserError
from vaebalance.tracking.curve_runs import CURVE, CURVE_FOLDER
from vaebalance.tracking.packaging import NAME, find_models
from vaebalance.tracking.stages import DATASET_DIGEST, FINGERPRINT, MODEL, STAGES
from vaebalance.tracking.store import (
    Store,
    create_database,
    experiment_name,
    open_store,
    set_defaults,
    tracking_uri,
)
from vaebalance.tracking.studies import STATE, STUDY, STUDY_ITSELF, TRIAL

if TYPE_CHECKING:
    from mlflow import MlflowClient

STUDY_FINGERPRINT = "study.fingerprint"  # a trial's parameter: the fingerprint of its study
DIGEST_IN_STUDY = 16  # characters of the dataset's digest in a study's parameters
WANTED = ("train", "evaluate")


@dataclass(frozen=True)
class RunSummary:
    """The data of a run that a report needs."""

    run_id: str
    name: str
    fingerprint: str
    metrics: dict[str, float]
    """The last value of every metric, by its name in MLflow."""
    params: dict[str, str]
    """Text, the only type that MLflow keeps."""
    experiment: str | None = None
    """Its name in DVC, if `dvc exp run` made it."""
    stages: frozenset[str] = frozenset()
    """The finished stages."""


@dataclass(frozen=True)
class TrialSummary:
    """A finished trial of a study."""

    study: str
    number: int
    metrics: dict[str, float]
    """By name in MLflow: `final/validation/rate` and so on."""
    params: dict[str, str]
    """The study's parameters as text, which all its trials share."""


@dataclass(frozen=True)
class CurveSummary:
    """A curve, fully trained or not."""

    run_id: str
    name: str
    params: dict[str, str]
    """Text, the only type that MLflow keeps."""


def runs(
    dataset_digest: str | None = None, stage: str = "evaluate", limit: int = 200
) -> list[RunSummary]:
    """List the newest `limit` runs with `stage` done, newest first; on that dataset if given."""
    conditions = [f"tags.`stage.{stage}` = 'done'"]
    if dataset_digest is not None:
        conditions.append(f"tags.`{DATASET_DIGEST}` = '{dataset_digest}'")
    return [
        RunSummary(
            run_id=run.info.run_id,
            name=run.info.run_name,
            fingerprint=run.data.tags[FINGERPRINT],
            metrics=dict(run.data.metrics),
            params=dict(run.data.params),
            experiment=run.data.tags.get("DVC_EXP_NAME"),
            stages=frozenset(s for s in STAGES if run.data.tags.get(f"stage.{s}") == "done"),
        )
        for run in _search(" AND ".join(conditions), limit)
    ]


def trials(dataset_digest: str, limit: int = 500) -> list[TrialSummary]:
    """List the finished trials, at most `limit` per study, of the studies on that dataset."""
    summaries = []
    for study in _search(f"tags.`{TRIAL}` = '{STUDY_ITSELF}'", limit):
        name = study.data.tags[STUDY]
        # A study that starts again under an old name has its parameters as tags.
        changed = {key: study.data.tags.get(key, value) for key, value in study.data.params.items()}
        if changed.get("data.digest") != dataset_digest[:DIGEST_IN_STUDY]:
            continue
        done = _search(f"tags.`{STUDY}` = '{name}' AND tags.`{STATE}` = 'done'", limit)
        finished = [run for run in done if run.data.tags[TRIAL] != STUDY_ITSELF]
        fingerprints = [run.data.params.get(STUDY_FINGERPRINT) for run in finished]
        summaries += [
            TrialSummary(name, int(run.data.tags[TRIAL]), dict(run.data.metrics), changed)
            for run, fingerprint in zip(finished, fingerprints, strict=True)
            if fingerprint == fingerprints[0]  # the newest trial's; others are of former studies
        ]
    return sorted(summaries, key=lambda trial: (trial.study, trial.number))


def curves(dataset_digest: str, limit: int = 200) -> list[CurveSummary]:
    """List the newest `limit` curves on that dataset, newest first."""
    conditions = f"tags.`{CURVE}` != '' AND tags.`{DATASET_DIGEST}` = '{dataset_digest}'"
    return [
        CurveSummary(run.info.run_id, run.info.run_name, dict(run.data.params))
        for run in _search(conditions, limit)
    ]


def _search(condition: str, limit: int) -> list[Any]:
    """List the newest `limit` runs that meet a condition, newest first."""
    client = _client()
    experiment = client.get_experiment_by_name(experiment_name())
    if experiment is None:
        return []
    runs = client.search_runs(
        [experiment.experiment_id],
        condition,
        max_results=limit,
        order_by=["attributes.start_time DESC"],
    )
    return list(runs)


def _client() -> MlflowClient:
    set_defaults()
    uri = tracking_uri()
    create_database(uri)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def fetch(run_id: str, folder: Path) -> None:
    """Copy the run's files of the stages train and evaluate, and its model, below `folder`.

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
    """Copy one file of a curve into `folder`; None: its run does not have it.

    Raises:
        UserError: it has the file, but the store cannot read it.
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
    """Copy a file or a folder of the run's artifacts, if it has it."""
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
        downloaded = download_artifacts(
            artifact_uri=f"{models[0].artifact_location}/artifacts/{NAME}",
            dst_path=temporary,
            tracking_uri=store.uri,
        )
        for file in Path(downloaded).iterdir():
            file.replace(target / file.name)
