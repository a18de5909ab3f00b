"""`curve`: the run of a curve, found by fingerprint; its steps are places along the curve."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaebalance.base.provenance import Provenance
from vaebalance.tracking.points import Point
from vaebalance.tracking.stages import CODE_DIGEST, DATASET_DIGEST, origin
from vaebalance.tracking.store import Store, open_store
from vaebalance.tracking.tracker import Tracker, lifecycle

if TYPE_CHECKING:
    from mlflow.entities import Run

CURVE = "vaebalance.curve"
CURVE_FOLDER = "curve"  # folder of its files among the run's artifacts
STATE = "state"

Rows = Mapping[str, Sequence[Mapping[str, float]]]
"""Split -> the numbers at each place along the curve."""


@contextmanager
def curve(provenance: Provenance) -> Iterator[Tracker]:
    """Open the run of this curve, creating it if needed; a repeated training adds no run or point.

    It has a tag of its own, so that it is not taken for a run of the pipeline.

    Raises:
        UserError: another process is working on this curve.
    """
    store = open_store()
    with store.claim(provenance.fingerprint, "curve"):
        tracker = Tracker(store, _find_or_create(store, provenance))
        with lifecycle(tracker, STATE):
            _describe(tracker, provenance)
            yield tracker


def log_along(tracker: Tracker, provenance: Provenance, rows: Rows) -> None:
    """Log each number as a function of its place along the curve, as `split/name`.

    On a device without bitwise reproducibility the same curve has other numbers. MLflow cannot
    change a point, so the former run then goes to its trash.
    """
    now = int(time.time() * 1000)
    points = [
        Point(f"{split}/{name}", value, step, now)
        for split, numbers in rows.items()
        for step, row in enumerate(numbers)
        for name, value in row.items()
    ]
    if tracker.contradicts(points):
        tracker.store.client.delete_run(tracker.run_id)
        tracker.become(_find_or_create(tracker.store, provenance))
        _describe(tracker, provenance)
    tracker.log_points(points)


def _find_or_create(store: Store, provenance: Provenance) -> Run:
    with store.lock():
        runs = store.client.search_runs(
            [store.experiment_id], f"tags.`{CURVE}` = '{provenance.fingerprint}'", max_results=1
        )
        if runs:
            return runs[0]
        method = provenance.params["curve"]["method"]
        return store.client.create_run(
            store.experiment_id,
            run_name=f"{provenance.dataset['name']} curve {method} {provenance.fingerprint[:8]}",
            tags={CURVE: provenance.fingerprint, **origin()},
        )


def _describe(tracker: Tracker, provenance: Provenance) -> None:
    tracker.set_tags(
        {DATASET_DIGEST: str(provenance.dataset["digest"]), CODE_DIGEST: provenance.code_digest}
    )
    tracker.log_params(provenance.params)
