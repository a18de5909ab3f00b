"""`Tracker`: what a stage or a trial says to its MLflow run, each thing once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vaebalance.base.verdicts import HEALTHY, Verdict, names
from vaebalance.tracking.points import TIMING, Point, flatten, param_text, same
from vaebalance.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

Item = TypeVar("Item")

FLUSH_SECONDS = 1.0
METRICS_A_BATCH = 1000  # MLflow's limits
ENTITIES_A_BATCH = 100
TAG_LENGTH = 8000
FAILURE = "failure"
VERDICT = "verdict"
NOTE = "mlflow.note.content"  # MLflow's own: the description on the run's page
ARTIFACTS = "vaebalance.artifacts"  # {where: digest}
STOPPED = (KeyboardInterrupt, SystemExit, GeneratorExit)


class EpochRecord(Protocol):
    """An epoch's numbers, as `reports.EpochReport` has them."""

    @property
    def epoch(self) -> int:
        """From 1."""

    @property
    def step(self) -> int:
        """Optimizer updates so far: the x axis in MLflow."""

    @property
    def seconds(self) -> float:
        """Of the epoch's training steps."""

    @property
    def images_per_second(self) -> float:
        """Training speed."""

    @property
    def finished_at(self) -> int:
        """Unix time in ms."""

    def metrics(self) -> dict[str, float]:
        """Everything else, under its name in MLflow."""


class Buffer:
    """Sends points from another thread: one batch at a time, at most one a second.

    A slow store delays only the end of the stage; its error is raised by the next call.
    """

    def __init__(self, send: Callable[[Sequence[Point]], None]) -> None:
        self._send = send
        self._waiting: list[Point] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._sending: Future[None] | None = None
        self._sent_at = 0.0

    def add(self, points: Iterable[Point]) -> None:
        """Take `points`; returns without waiting for the store."""
        self._waiting += points
        if self._sending is not None and not self._sending.done():
            return
        self._settle()
        if self._waiting and time.monotonic() - self._sent_at >= FLUSH_SECONDS:
            self._sent_at = time.monotonic()
            self._sending = self._thread.submit(self._send, self._take())

    def flush(self) -> None:
        """Wait until the store has everything."""
        self._settle()
        if self._waiting:
            self._send(self._take())

    def _settle(self) -> None:
        if self._sending is not None:
            sending, self._sending = self._sending, None
            sending.result()

    def _take(self) -> list[Point]:
        points, self._waiting = self._waiting, []
        return points


class Tracker:
    """One MLflow run, to which everything may be told again without changing it."""

    def __init__(self, store: Store, run: Run) -> None:
        self.store = store
        self._buffer = Buffer(self._send)
        self.become(run)

    def become(self, run: Run) -> None:
        """Speak to `run` from now on."""
        self.run_id: str = run.info.run_id
        self._tags: dict[str, str] = dict(run.data.tags)
        self._params: dict[str, str] = dict(run.data.params)
        self._curves = {key: self._read_curve(key) for key in run.data.metrics}

    @property
    def tags(self) -> Mapping[str, str]:
        """The run's tags."""
        return self._tags

    @property
    def params(self) -> Mapping[str, str]:
        """The run's parameters as MLflow keeps them: text."""
        return self._params

    def log_epoch(self, record: EpochRecord) -> None:
        """Add an epoch's points, unless the run has them; returns without waiting for the store."""
        values = {
            "epoch": float(record.epoch),
            **record.metrics(),
            "seconds": record.seconds,
            "images_per_second": record.images_per_second,
        }
        self.log_points(
            [Point(name, value, record.step, record.finished_at) for name, value in values.items()]
        )

    def log_points(self, points: Iterable[Point]) -> None:
        """Add the points whose step the run's curve lacks; returns without waiting."""
        new = [point for point in points if point.step not in self._curves.get(point.key, {})]
        for point in new:
            self._curves.setdefault(point.key, {})[point.step] = point.value
        self._buffer.add(new)

    def contradicts(self, points: Iterable[Point]) -> bool:
        """Whether the run has another value where `points` has one; speeds never count."""
        return any(
            not same(self._curves[point.key][point.step], point.value)
            for point in points
            if point.key not in TIMING and point.step in self._curves.get(point.key, {})
        )

    def log_metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Add final numbers; None and what the run already says are left out."""
        self.flush()
        now = int(time.time() * 1000)
        known = self.store.client.get_run(self.run_id).data.metrics
        new = [
            Point(name, float(value), step, now)
            for name, value in values.items()
            if value is not None and not (name in known and same(known[name], float(value)))
        ]
        self._write(new)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Add nested parameters as `model.latent_size`; MLflow never changes one that it has."""
        from mlflow.entities import Param

        texts = {name: param_text(value) for name, value in flatten(params, ".").items()}
        new = {name: text for name, text in texts.items() if name not in self._params}
        self._params |= new
        for batch in _batches([Param(*item) for item in new.items()], ENTITIES_A_BATCH):
            self.store.client.log_batch(self.run_id, params=batch)

    def log_verdicts(self, verdicts: Sequence[Verdict], *, so_far: bool = False) -> None:
        """Say what is wrong with the training, as a tag and as the run's description.

        Args:
            verdicts: nothing: it is healthy.
            so_far: the training goes on; then it is not called healthy yet.
        """
        if not verdicts and so_far:
            return
        lines = [f"**{v.name}**: {v.evidence} {v.remedy}" for v in verdicts]
        heading = "Verdict so far" if so_far else "Verdict"
        text = "\n\n".join(lines) or HEALTHY
        self.set_tags({VERDICT: names(verdicts), NOTE: f"{heading}: {text}"})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set the tags that differ; a long text is cut."""
        from mlflow.entities import RunTag

        cut = {name: value[:TAG_LENGTH] for name, value in tags.items()}
        new = {name: value for name, value in cut.items() if self._tags.get(name) != value}
        self._tags |= new
        for batch in _batches([RunTag(*item) for item in new.items()], ENTITIES_A_BATCH):
            self.store.client.log_batch(self.run_id, tags=batch)

    def log_artifacts(self, path: Path, artifact_path: str = "") -> None:
        """Copy a file into, or a folder as, `artifact_path`, unless the run has it as it is."""
        target = artifact_path if path.is_dir() else f"{artifact_path}/{path.name}".lstrip("/")
        known, digest = json.loads(self._tags.get(ARTIFACTS, "{}")), digest_files(path)
        if known.get(target) == digest and self._has_artifact(target):
            return
        if path.is_dir():
            self.store.client.log_artifacts(self.run_id, str(path), artifact_path)
        else:
            self.store.client.log_artifact(self.run_id, str(path), artifact_path or None)
        self.set_tags({ARTIFACTS: json.dumps(known | {target: digest})})

    def log_model(self, folder: Path) -> None:
        """Log the trained model in `folder`, servable, unless the run has it as it is."""
        from vaebalance.tracking.packaging import log_model

        log_model(self.store, self.run_id, folder, digest_files(folder))

    def flush(self) -> None:
        """Wait until the store has every point."""
        self._buffer.flush()

    def begin(self, activity: str) -> None:
        """Mark the run as running `activity`; an earlier failure is forgotten."""
        self.store.client.update_run(self.run_id, status="RUNNING")
        self.set_tags({activity: "running"})
        if self._tags.pop(FAILURE, None) is not None:
            self.store.client.delete_tag(self.run_id, FAILURE)

    def end(self, activity: str, outcome: str, status: str) -> None:
        """Mark `activity` with its outcome and the run with an MLflow status."""
        self.set_tags({activity: outcome})
        self.store.client.set_terminated(self.run_id, status=status)

    def _read_curve(self, key: str) -> dict[int, float]:
        history = self.store.client.get_metric_history(self.run_id, key)
        return {metric.step: metric.value for metric in history}

    def _has_artifact(self, target: str) -> bool:
        parent = target.rpartition("/")[0]
        found = self.store.client.list_artifacts(self.run_id, parent or None)
        return any(file.path == target for file in found)

    def _send(self, points: Sequence[Point]) -> None:
        """Write those that no other process has written since the run was read.

        Everybody writes the values of an epoch in the same order: if the run lacks the first key's
        steps, it lacks the others', too, and one key need be read.
        """
        taken = self._read_curve(points[0].key)
        if any(point.step in taken for point in points):
            curves = {key: self._read_curve(key) for key in {point.key for point in points}}
            points = [point for point in points if point.step not in curves[point.key]]
        self._write(points)

    def _write(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        for batch in _batches(points, METRICS_A_BATCH):
            metrics = [Metric(p.key, p.value, p.timestamp, p.step) for p in batch]
            self.store.client.log_batch(self.run_id, metrics=metrics)


@contextmanager
def lifecycle(
    tracker: Tracker, activity: str, stopped: tuple[type[BaseException], ...] = STOPPED
) -> Iterator[None]:
    """Mark the run RUNNING for the block, then FINISHED, FAILED, or KILLED by one of `stopped`.

    The block's exception always reaches the caller, whether or not MLflow can be told of it.
    """
    try:
        tracker.begin(activity)
        yield
        tracker.flush()
        tracker.end(activity, "done", "FINISHED")
    except BaseException as error:
        _record_failure(tracker, activity, error, isinstance(error, stopped))
        raise


def _record_failure(tracker: Tracker, activity: str, error: BaseException, stopped: bool) -> None:
    from mlflow.exceptions import MlflowException

    try:
        tracker.set_tags({FAILURE: f"{type(error).__name__}: {error}"})
        tracker.end(activity, *(("stopped", "KILLED") if stopped else ("failed", "FAILED")))
        tracker.flush()
    except MlflowException as problem:
        error.add_note(f"The MLflow run could not be marked as failed: {problem}")


def digest_files(path: Path) -> str:
    """128 bits of SHA-256 over names and contents of a file, or of all files below a folder."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    for file in files:
        digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
