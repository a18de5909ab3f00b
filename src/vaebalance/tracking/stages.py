"""`run`: the MLflow run of a pipeline state, shared by train, evaluate and report.

Its identity is the fingerprint of settings, data and code, so it is found again after a cached
stage, a lost store or a repeated training. Every stage fills in what the files have and the run
lacks.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import FILE as PROVENANCE
from vaebalance.base.provenance import Provenance, read_provenance
from vaebalance.base.verdicts import read_verdicts
from vaebalance.tracking.packaging import delete_models
from vaebalance.tracking.points import read_curves, read_metrics
from vaebalance.tracking.registry import (
    Promoted,
    Promotion,
    Selection,
    read_promotion,
    register,
    write_promotion,
)
from vaebalance.tracking.store import Store, open_store, project_root
from vaebalance.tracking.tracker import Tracker, lifecycle

if TYPE_CHECKING:
    from mlflow.entities import Run

FINGERPRINT = "vaebalance.fingerprint"
DATASET_DIGEST = "vaebalance.dataset_digest"
CODE_DIGEST = "vaebalance.code_digest"
DIGEST_LENGTH = 36  # MLflow's limit for a dataset's digest; the tag has the whole digest

MODEL = "artifacts/model"
HISTORY = "artifacts/history.csv"
TIMING = "artifacts/timing.csv"
RATES = "artifacts/latent_rates.csv"
REPORTS = "artifacts/reports.json"
VERDICTS = "artifacts/verdicts.json"


@dataclass(frozen=True)
class StageFiles:
    """The files of a stage for MLflow."""

    metrics: str | None
    """Path of the metrics file."""
    prefix: str
    """Prefix that keeps its numbers apart from the curves in MLflow, which have the same names."""
    artifacts: tuple[tuple[str, str], ...]
    """Pairs of a file or folder and its place in the run's artifacts."""


STAGES = {
    "train": StageFiles(
        "metrics/train.json",
        "model",
        tuple((path, "") for path in (HISTORY, TIMING, RATES, REPORTS, f"{MODEL}/{PROVENANCE}")),
    ),
    "evaluate": StageFiles(
        "metrics/evaluation.json",
        "",
        (
            ("artifacts/evaluation", "evaluation"),
            ("artifacts/evaluation_timing.csv", ""),
            (VERDICTS, ""),
        ),
    ),
    "report": StageFiles(None, "", (("artifacts/report", "report"),)),
}
"""The stages in the pipeline's order."""


@contextmanager
def run(provenance: Provenance, stage: str, folder: Path = Path()) -> Iterator[Tracker]:
    """Open the run of this pipeline state while `stage` works in `folder`.

    Before the block the outputs of earlier stages are filled in, after it this stage's own: the
    stage writes its files inside the block and needs to log only epochs. A stage that runs again
    adds no run, no point and no model.

    Raises:
        UserError: the stage is unknown, another process is working on this state, the experiment
            was deleted, or a file is damaged.
    """
    if stage not in STAGES:
        raise UserError(f"no stage is called {stage!r}; the stages are {', '.join(STAGES)}.")
    store = open_store()
    order = list(STAGES)
    before, through = order[: order.index(stage)], order[: order.index(stage) + 1]
    with store.claim(provenance.fingerprint, stage):
        tracker = Tracker(store, _find_or_create(store, provenance))
        with lifecycle(tracker, f"stage.{stage}"):
            _describe(tracker, provenance)
            _mirror(tracker, provenance, before, folder)
            yield tracker
            tracker.flush()
            _mirror(tracker, provenance, through, folder)


def promote(selection: Selection, provenance: Provenance, write: Callable[[], str]) -> Promoted:
    """Write a selection to params.yaml and promotion.json, and register its model if it exists.

    Args:
        selection: what was chosen.
        provenance: provenance of the training that the edited params.yaml describes.
        write: writes params.yaml, and returns the difference.

    Raises:
        UserError: params.yaml cannot be edited so.
    """
    diff = write()
    promotion = Promotion(
        **vars(selection),
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        params=provenance.params,
        dataset_digest=str(provenance.dataset["digest"]),
    )
    write_promotion(Path(), promotion)
    return Promoted(promotion, diff, register_trained(provenance, promotion))


def register_trained(provenance: Provenance, promotion: Promotion) -> str | None:
    """Register a model that was trained before it was promoted, so that no stage need run again.

    Returns:
        The model's address in the registry; None: there is no such model yet.
    """
    store = open_store()
    run = _find(store, provenance)
    return None if run is None else register(store, run.info.run_id, promotion)


def _find(store: Store, provenance: Provenance) -> Run | None:
    found = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{FINGERPRINT}` = '{provenance.fingerprint}'",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return found[0] if found else None


def _find_or_create(store: Store, provenance: Provenance) -> Run:
    with store.lock():
        found = _find(store, provenance)
        if found is not None:
            return found
        return store.client.create_run(
            store.experiment_id,
            run_name=run_name(provenance),
            tags={FINGERPRINT: provenance.fingerprint, **origin()},
        )


def run_name(provenance: Provenance) -> str:
    """Name a run so that it is recognised in a narrow column: data and weights first."""
    params = provenance.params
    balance = params.get("balance", {})
    parts = [provenance.dataset.get("name")]
    parts += [f"{name}={balance[name]:g}" for name in ("alpha", "beta") if name in balance]
    parts += [params.get("likelihood", {}).get("kind"), balance.get("kind")]
    return " ".join([*(str(part) for part in parts if part), provenance.fingerprint[:8]])


def origin() -> dict[str, str]:
    """Return tags with user, script, and git commit of the repository (not of a copy of it)."""
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": Path(sys.argv[0]).name}
    with suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        tags["mlflow.source.git.commit"] = commit
        changes = _git("status", "--porcelain", "--untracked-files=no")
        tags["mlflow.source.git.dirty"] = str(bool(changes)).lower()
    return tags


def _git(*arguments: str) -> str | None:
    """Return git's answer about the repository; None outside one, or without git."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(project_root()), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _describe(tracker: Tracker, provenance: Provenance) -> None:
    """Set parameters, tags and dataset; a killed process may have left the run without them."""
    tags = {
        DATASET_DIGEST: str(provenance.dataset["digest"]),
        CODE_DIGEST: provenance.code_digest,
    }
    if name := os.environ.get("DVC_EXP_NAME"):
        tags["DVC_EXP_NAME"] = name
    tracker.set_tags(tags)
    tracker.log_params(provenance.params)
    tracker.store.client.log_inputs(tracker.run_id, [_dataset_input(provenance.dataset)])


def _dataset_input(dataset: dict[str, Any]) -> Any:
    """Describe the dataset without its data."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    shape = [-1, *dataset.get("image_shape", [])]
    spec = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": shape}}
    entity = Dataset(
        name=str(dataset.get("name", "images")),
        digest=str(dataset["digest"])[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(dataset.get("name", "images"))}),
        schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([spec])}}),
        profile=json.dumps(dataset),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _mirror(tracker: Tracker, provenance: Provenance, stages: list[str], folder: Path) -> None:
    """Fill in what the files of `stages` have and the run lacks.

    Files of another pipeline state are ignored.
    """
    if not stages or not _is_on_disk(provenance, folder):
        return
    points = read_curves(folder / HISTORY, folder / TIMING)
    if tracker.contradicts(points):
        _start_over(tracker, provenance)
    tracker.log_points(points)
    tracker.flush()
    if "evaluate" in stages and (verdicts := folder / VERDICTS).exists():
        tracker.log_verdicts(read_verdicts(verdicts))
    for stage in stages:
        files = STAGES[stage]
        if files.metrics and (path := folder / files.metrics).exists():
            tracker.log_metrics(read_metrics(path, files.prefix))
            tracker.log_artifacts(path, "metrics")
        present = [(folder / path, to) for path, to in files.artifacts if (folder / path).exists()]
        for path, target in present:
            tracker.log_artifacts(path, target)
        if present:
            tracker.set_tags({f"stage.{stage}": "done"})
    tracker.log_model(folder / MODEL)
    promotion = read_promotion(folder)
    if promotion is not None and promotion.is_of(provenance):
        register(tracker.store, tracker.run_id, promotion)


def _is_on_disk(provenance: Provenance, folder: Path) -> bool:
    if not (folder / MODEL / PROVENANCE).exists():
        return False
    return read_provenance(folder / MODEL).fingerprint == provenance.fingerprint


def _start_over(tracker: Tracker, provenance: Provenance) -> None:
    """Move the run to MLflow's trash and open another.

    A forced re-training on a device without bitwise reproducibility gives other curves under the
    same fingerprint, and MLflow cannot change a point.
    """
    tags = {name: value for name, value in tracker.tags.items() if name.startswith("stage.")}
    delete_models(tracker.store, tracker.run_id)
    tracker.store.client.delete_run(tracker.run_id)
    tracker.become(_find_or_create(tracker.store, provenance))
    _describe(tracker, provenance)
    tracker.set_tags(tags)
