"""The store of the runs: one SQLite file at the repository's root, created by the first process."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing
from vaebalance.base.process import importing

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "vaebalance"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
SQLITE = "sqlite:///"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # not "GenAI"

# Set before MLflow is imported, and only where the user has set nothing.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_MODEL_CATALOG_URI": "",  # no download of a list of language models
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Store:
    """An open tracking store and the experiment of our runs."""

    uri: str
    client: MlflowClient
    experiment_id: str

    def lock(self) -> FileLock:
        """Return the lock under which runs are found or created, so that each is created once."""
        return FileLock(lock_path(self.uri))

    @contextmanager
    def claim(self, fingerprint: str, stage: str) -> Iterator[None]:
        """Keep all other processes from the run of `fingerprint` while the block is at `stage`.

        The lock lies beside the store, so that it also holds for copies of the project (`dvc exp
        run --temp`). The system frees it however the process ends.

        Raises:
            UserError: another process has it.
        """
        path = lock_path(self.uri, fingerprint[:16])
        lock = FileLock(path, blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(_claimed(path, stage, fingerprint)) from error
        try:
            path.write_text(f"{os.getpid()} on {platform.node()}, stage {stage}", "utf-8")
            yield
        finally:
            path.unlink(missing_ok=True)
            lock.release()


def project_root() -> Path:
    """Return the repository's root, wherever the command runs.

    Under `dvc exp run --temp` and `--queue` the working directory is a temporary copy; DVC_ROOT
    names the real one.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir() and (folder / "dvc.yaml").is_file():
            return folder
    checkout = Path(__file__).resolve().parents[3]
    return checkout if (checkout / "dvc.yaml").is_file() else here


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the SQLite file at the repository's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{project_root() / DATABASE}"


def database_path(uri: str) -> Path | None:
    """Return the file of a SQLite URI; None for any other kind of store."""
    if not uri.startswith(SQLITE):
        return None
    return Path(uri.removeprefix(SQLITE).partition("?")[0]).absolute()


def artifact_root(uri: str) -> Path | None:
    """Return the artifact folder beside a SQLite store; None if a server decides."""
    database = database_path(uri)
    return None if database is None else database.with_name(ARTIFACTS)


def lock_path(uri: str, part: str = "") -> Path:
    """Return the lock file of a store, or of a part of it.

    It lies beside a SQLite file, otherwise among this machine's temporary files.
    """
    end = f".{part}.lock" if part else ".lock"
    if database := database_path(uri):
        return database.with_name(database.name + end)
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"vaebalance-{os.getuid()}-{name}{end}"


def _claimed(path: Path, stage: str, fingerprint: str) -> str:
    """Write the message for a process that finds `path` locked."""
    try:
        holder = path.read_text("utf-8")
    except FileNotFoundError:  # the other process has just ended
        holder = ""
    return (
        f"stage {stage}: another process (pid {holder or 'unknown'}) is at work on the same "
        f"training (fingerprint {fingerprint[:16]}); start again when it has ended, or end it: "
        "its results until then are kept."
    )


def set_defaults() -> None:
    """Set safe and quiet defaults for MLflow in this process and its children."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def configure() -> str:
    """Point MLflow in this process at the project's store, and return the store's URI.

    This is for notebooks and scripts that call MLflow; `run`, `study` and `runs` do not need it.
    """
    set_defaults()
    uri = tracking_uri()
    create_database(uri)
    import mlflow

    mlflow.set_tracking_uri(uri)
    return uri


def create_database(uri: str) -> None:
    """Create the SQLite store if there is none; other kinds of store are left alone.

    MLflow's first access runs hundreds of schema changes in place: if several processes do this at
    once, most of them fail, and a kill half-way leaves a broken file. Here one process creates it
    under a lock, elsewhere, and moves it into place when complete.
    """
    database, artifacts = database_path(uri), artifact_root(uri)
    if database is None or artifacts is None or _is_created(database):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(uri)):
        if _is_created(database):
            return
        with importing():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with replacing(database) as temporary:
            store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
                f"{SQLITE}{temporary}", artifacts.as_uri()
            )
            store.engine.dispose()


def _is_created(database: Path) -> bool:
    return database.exists() and database.stat().st_size > 0


def open_store() -> Store:
    """Open the project's store with its experiment; both are created if missing.

    Raises:
        UserError: the experiment was deleted.
    """
    set_defaults()
    uri = tracking_uri()
    create_database(uri)
    with importing():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)  # imports more
    return Store(uri, client, _experiment_id(client, uri))


def experiment_name() -> str:
    """Return VAEBALANCE_EXPERIMENT, or `vaebalance`."""
    return os.environ.get("VAEBALANCE_EXPERIMENT") or EXPERIMENT


def _experiment_id(client: MlflowClient, uri: str) -> str:
    name = experiment_name()
    with FileLock(lock_path(uri)):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            root = artifact_root(uri)
            location = None if root is None else (root / name).as_uri()
            created: str = client.create_experiment(name, location, EXPERIMENT_TAGS)
            return created
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {name!r} in {uri} is deleted. Restore it with `mlflow "
            f"experiments restore --experiment-id {experiment.experiment_id}`, or name another "
            "one in the environment variable VAEBALANCE_EXPERIMENT."
        )
    existing: str = experiment.experiment_id
    return existing
