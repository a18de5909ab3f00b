"""`curve`: the run of a curve, found by fingerprint; its steps are places along the curve."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from vaebalance.provenance import Provenance
from vaebalance.tracking.points import Point
from vaebalance.tracking.stages import CODE_DIGEST, DATASET_DIGEST, origin
from vaebalance.tracking.store import open_store
from vaebalance.tracking.tracker import Tracker, lifecycle

CURVE = "vaebalance.curve"
STATE = "state"


@contextmanager
def curve(provenance: Provenance) -> Iterator[Tracker]:
    """The run of this curve, made or found: training it again adds no run and no point.

    It bears a tag of its own, so that it is not taken for a run of the pipeline.
    """
    store = open_store()
    with store.lock():
        found = store.client.search_runs(
            [store.experiment_id], f"tags.`{CURVE}` = '{provenance.fingerprint}'", max_results=1
        )
        if found:
            run = found[0]
        else:
            settings = provenance.params["curve"]
            name = f"{provenance.dataset['name']} curve {settings['method']}"
            tags = {CURVE: provenance.fingerprint, **origin()}
            run = store.client.create_run(
                store.experiment_id,
                run_name=f"{name} {provenance.fingerprint[:8]}",
                tags=tags,
            )
    tracker = Tracker(store, run)
    tracker.set_tags(
        {
            DATASET_DIGEST: str(provenance.dataset["digest"]),
            CODE_DIGEST: provenance.code_digest,
        }
    )
    tracker.log_params(provenance.params)
    with lifecycle(tracker, STATE):
        yield tracker


def log_along(tracker: Tracker, split: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Each number as a function of its place along the curve, as `split/name`."""
    now = int(time.time() * 1000)
    tracker.log_points(
        Point(f"{split}/{name}", value, step, now)
        for step, row in enumerate(rows)
        for name, value in row.items()
    )
