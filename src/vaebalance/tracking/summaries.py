"""`runs`, `trials` and `curves`: what else the store knows, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaebalance.tracking.curve_runs import CURVE
from vaebalance.tracking.stages import DATASET_DIGEST, FINGERPRINT, STAGES
from vaebalance.tracking.store import create_database, experiment_name, set_defaults, tracking_uri
from vaebalance.tracking.studies import STATE, STUDY, STUDY_ITSELF, TRIAL

if TYPE_CHECKING:
    from mlflow import MlflowClient

SUBJECT = "study.fingerprint"  # a trial's parameter: what its study was about
DIGEST_IN_STUDY = 16  # characters of the dataset's digest in a study's parameters


@dataclass(frozen=True)
class RunSummary:
    """What a report needs of a run."""

    run_id: str
    name: str
    fingerprint: str
    metrics: dict[str, float]
    """The last value of every metric, by its name in MLflow."""
    params: dict[str, str]
    """As text: MLflow keeps no other."""
    experiment: str | None = None
    """Its name in DVC, where `dvc exp run` made it."""
    stages: frozenset[str] = frozenset()
    """Those that are done."""


@dataclass(frozen=True)
class TrialSummary:
    """A finished trial of a study."""

    study: str
    number: int
    metrics: dict[str, float]
    """`final/validation/rate` and so on, by their names in MLflow."""
    params: dict[str, str]
    """The study's, as text: what all of its trials share."""


@dataclass(frozen=True)
class CurveSummary:
    """A curve, be it trained to its end or not."""

    run_id: str
    name: str
    params: dict[str, str]
    """As text: MLflow keeps no other."""


def runs(
    dataset_digest: str | None = None, stage: str = "evaluate", limit: int = 200
) -> list[RunSummary]:
    """The newest `limit` runs in which `stage` is done, newest first, on that dataset if given."""
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
    """The finished trials, at most `limit` a study, of the studies on that dataset."""
    found = []
    for study in _search(f"tags.`{TRIAL}` = '{STUDY_ITSELF}'", limit):
        name = study.data.tags[STUDY]
        # A study begun anew under an old name has its parameters as tags.
        changed = {key: study.data.tags.get(key, value) for key, value in study.data.params.items()}
        if changed.get("data.digest") != dataset_digest[:DIGEST_IN_STUDY]:
            continue
        done = _search(f"tags.`{STUDY}` = '{name}' AND tags.`{STATE}` = 'done'", limit)
        own = [run for run in done if run.data.tags[TRIAL] != STUDY_ITSELF]
        subjects = [run.data.params.get(SUBJECT) for run in own]
        found += [
            TrialSummary(name, int(run.data.tags[TRIAL]), dict(run.data.metrics), changed)
            for run, subject in zip(own, subjects, strict=True)
            if subject == subjects[0]  # the newest trial's: others are of a former study
        ]
    return sorted(found, key=lambda trial: (trial.study, trial.number))


def curves(dataset_digest: str, limit: int = 200) -> list[CurveSummary]:
    """The newest `limit` curves on that dataset, newest first."""
    conditions = f"tags.`{CURVE}` != '' AND tags.`{DATASET_DIGEST}` = '{dataset_digest}'"
    return [
        CurveSummary(run.info.run_id, run.info.run_name, dict(run.data.params))
        for run in _search(conditions, limit)
    ]


def _search(condition: str, limit: int) -> list[Any]:
    """The newest `limit` runs that fulfil it, newest first."""
    client = _client()
    experiment = client.get_experiment_by_name(experiment_name())
    if experiment is None:
        return []
    found = client.search_runs(
        [experiment.experiment_id],
        condition,
        max_results=limit,
        order_by=["attributes.start_time DESC"],
    )
    return list(found)


def _client() -> MlflowClient:
    set_defaults()
    uri = tracking_uri()
    create_database(uri)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)
