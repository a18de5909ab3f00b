"""`runs`: the other pipeline states as plain data, for the rate-distortion plane."""

from __future__ import annotations

from dataclasses import dataclass

from vaebalance.tracking.stages import DATASET_DIGEST, FINGERPRINT
from vaebalance.tracking.store import create_database, experiment_name, set_defaults, tracking_uri


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


def runs(
    dataset_digest: str | None = None, stage: str = "evaluate", limit: int = 200
) -> list[RunSummary]:
    """The newest `limit` runs in which `stage` is done, newest first, on that dataset if given."""
    set_defaults()
    uri = tracking_uri()
    create_database(uri)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(experiment_name())
    if experiment is None:
        return []
    conditions = [f"tags.`stage.{stage}` = 'done'"]
    if dataset_digest is not None:
        conditions.append(f"tags.`{DATASET_DIGEST}` = '{dataset_digest}'")
    found = client.search_runs(
        [experiment.experiment_id],
        " AND ".join(conditions),
        max_results=limit,
        order_by=["attributes.start_time DESC"],
    )
    return [
        RunSummary(
            run_id=run.info.run_id,
            name=run.info.run_name,
            fingerprint=run.data.tags[FINGERPRINT],
            metrics=dict(run.data.metrics),
            params=dict(run.data.params),
        )
        for run in found
    ]
