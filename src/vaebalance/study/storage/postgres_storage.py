"""Keep a study in a PostgreSQL database that many machines share.

Locks are the database's own advisory locks, freed when the holder's connection ends for whatever
reason. Heartbeats tell which workers are alive: a worker that loses its connection for a moment, or
whose server restarts, continues its trial and must not be taken for dead meanwhile. The trial of a
machine that vanished is run again after `grace` seconds without a heartbeat. A worker that ends in
order (an error, Ctrl-C) deletes its heartbeat, so that nobody waits for it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from vaebalance.base.errors import UserError
from vaebalance.settings.storage_url import EXAMPLE
from vaebalance.study.storage.storage import WORKER, Result, worker_name

DIALECT = "postgresql+psycopg"
RETRY_SECONDS = 1.0
CONNECTION = {
    "connect_timeout": 10,
    "application_name": "vaebalance",
    # Notice a server that vanished after a minute, not after the system's two hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


POOL = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 2}
"""A server allows some 100 connections in total: a process keeps one for its locks and one for
Optuna, and opens one more while a heartbeat coincides with another statement."""


@dataclass(frozen=True)
class Rhythm:
    """Intervals and time limits by which a study's processes wait, in seconds."""

    heartbeat: int = 10
    grace: int = 60
    """Time without a heartbeat after which another worker may run the trial."""
    patience: float = 300.0
    """Time without a connection after which a process gives up."""


RHYTHM = Rhythm()


class DatabaseStorage:
    """Implement `storage.Storage` on PostgreSQL."""

    def __init__(self, url: str, study: str, origin: str, rhythm: Rhythm | None = None) -> None:
        """Connect to the database and create Optuna's tables if it has none.

        Args:
            url: URL of the database.
            study: name of the study.
            origin: setting that gave the URL, for messages.
            rhythm: intervals and time limits; None: `RHYTHM`.

        Raises:
            UserError: the database cannot be reached or used; the message hides any password.
        """
        parsed, arguments = _parse(url, origin)
        self._shown = f"{origin} = {parsed.render_as_string()!r}"
        self._study = study
        self._rhythm = rhythm or RHYTHM
        self._holding: list[str] = []
        # Hand on a URL without credentials: no error or log of theirs can show a password.
        options = {**POOL, "connect_args": arguments}
        self._engine = sqlalchemy.create_engine(f"{DIALECT}://", **options)  # for locks
        try:
            # Two processes that create the tables at once would fail.
            with self._locked("tables"):
                self._database = self._open(options)
        except (DBAPIError, StorageInternalError) as error:
            raise UserError(_reason(_driver_error(error), parsed, self._shown)) from None
        except RuntimeError as error:  # Optuna's: tables of another Optuna version
            raise UserError(f"{self._shown}: {error}") from error
        self.optuna: BaseStorage = get_storage(self._database)  # caches ended trials

    def _open(self, options: dict[str, Any]) -> RDBStorage:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats, since Optuna 2.6
            storage = RDBStorage(
                f"{DIALECT}://",
                options,
                heartbeat_interval=self._rhythm.heartbeat,
                grace_period=self._rhythm.grace,
            )
        _agree_on_the_time(storage.engine)
        return storage

    def names(self) -> list[str]:
        """See `Storage`."""
        return sorted(study.study_name for study in self.optuna.get_all_studies())

    def lock(self, name: str) -> AbstractContextManager[None]:
        """See `Storage`."""
        return self._locked(f"{name} {self._study}")

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        assert name not in self._holding, "another connection of ours would wait for this one"
        # A lock of the transaction, not of the session: no connection returns to the pool with it.
        with self._engine.begin() as connection:
            connection.execute(
                sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(name)}
            )
            self._holding.append(name)
            try:
                yield
            finally:
                self._holding.remove(name)

    def heartbeat(self) -> AbstractContextManager[str]:
        """See `Storage`; the heartbeats are those of the trials."""
        return nullcontext(worker_name())

    def acquired(self, trial_id: int) -> None:
        """See `Storage`."""
        self._database.record_heartbeat(trial_id)

    @contextmanager
    def lease(self, trial_id: int, worker: str) -> Iterator[None]:
        """See `Storage`."""
        try:
            with self._beating(trial_id):
                yield
        except BaseException:
            self._give_up(trial_id, worker)
            raise

    @contextmanager
    def _beating(self, trial_id: int) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial_id, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _beat(self, trial_id: int, stop: threading.Event) -> None:
        while not stop.wait(self._rhythm.heartbeat):
            try:
                self._database.record_heartbeat(trial_id)
            except (SQLAlchemyError, StorageInternalError) as error:
                # The next beat tries again; the trial's end checks whether it is still ours.
                if not _is_of_connection(error):
                    raise

    def _give_up(self, trial_id: int, worker: str) -> None:
        """Delete the heartbeat, unless another worker has the trial by now."""
        statement = (
            "DELETE FROM trial_heartbeats WHERE trial_id = :trial AND EXISTS (SELECT FROM "
            "trial_user_attributes WHERE trial_id = :trial AND key = :key AND value_json = :worker)"
        )
        values = {"trial": trial_id, "key": WORKER, "worker": json.dumps(worker)}
        try:
            with self._database.engine.begin() as connection:
                connection.execute(sqlalchemy.text(statement), values)
        except SQLAlchemyError as error:
            if not _is_of_connection(error):
                raise
            # Perhaps the very reason for giving up. The others see the heartbeat expire.

    def stale(self, running: Mapping[int, str]) -> set[int]:
        """See `Storage`.

        A trial without any heartbeat was given up in order, or by a process that was killed right
        after it had added the trial: it held the lock then, as the caller does now.
        """
        if not running:
            return set()
        # A server that was down has heard no heartbeat: expire none until all could be heard.
        statement = (
            "SELECT trial_id FROM trial_heartbeats "
            "WHERE heartbeat >= now() - make_interval(secs => :grace) "
            "OR pg_postmaster_start_time() >= now() - make_interval(secs => :grace)"
        )
        with self._database.engine.connect() as connection:
            alive = connection.scalars(sqlalchemy.text(statement), {"grace": self._rhythm.grace})
            return set(running) - set(alive)

    def with_retries(self, act: Callable[[], Result]) -> Result:
        """See `Storage`.

        Raises:
            UserError: the connection stays lost.
        """
        if self._holding:
            return act()  # a lock is lost with its connection: its holder starts all over
        until = time.monotonic() + self._rhythm.patience
        while True:
            try:
                return act()
            except (SQLAlchemyError, StorageInternalError) as error:
                if not _is_of_connection(error):
                    raise
                if time.monotonic() >= until:
                    raise UserError(
                        f"{self._shown}: the connection was lost and not regained in "
                        f"{self._rhythm.patience:g} s ({_one_line(_driver_error(error))}). No "
                        "finished trial is lost; when the server is back, the same command goes on."
                    ) from None
            time.sleep(RETRY_SECONDS)


def _parse(url: str, origin: str) -> tuple[sqlalchemy.URL, dict[str, Any]]:
    """Split a URL into one without a password and the driver's arguments."""
    try:
        parsed = sqlalchemy.make_url(url).set(drivername=DIALECT)
        arguments = dict(parsed.get_dialect()().create_connect_args(parsed)[1])
    except (ArgumentError, ValueError):  # their messages may contain a part of the URL
        raise UserError(
            f"{origin}: not a URL of a database (is its port a number, and is each of : / @ in "
            f"user and password written as %3A %2F %40?); it is like {EXAMPLE}."
        ) from None
    secret = [key for key in parsed.query if "password" in key.lower()]
    shown = parsed._replace(password=None).difference_update_query(secret)  # set() ignores None
    return shown, {**CONNECTION, **arguments}


def _agree_on_the_time(engine: sqlalchemy.Engine) -> None:
    """Set the time zone of all sessions of the engine to UTC.

    Optuna writes heartbeats in the session's local time: all machines must agree on it, all year.
    (As an option of the connection it would give way to PGTZ.)
    """

    def set_utc(connection: psycopg.Connection[Any], _: object) -> None:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    engine.dispose()  # open connections have another time zone
    sqlalchemy.event.listen(engine, "connect", set_utc)


def _key(name: str) -> int:
    """Return the 64-bit key of an advisory lock of the database."""
    digest = hashlib.sha256(f"vaebalance {name}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _is_of_connection(error: BaseException) -> bool:
    """Return whether a retry may succeed: the server is away, starting or stopping."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def _reason(error: BaseException, url: sqlalchemy.URL, shown: str) -> str:
    """Return why the database cannot be used, and what to do."""
    text = _one_line(error)
    remedy = "is the server there, and does it let this machine in?"
    if "password" in text:
        remedy = "the password belongs in ~/.pgpass or PGPASSWORD."
    elif f'database "{url.database}" does not exist' in text:
        remedy = f"make it with `createdb {url.database}` on the server."
    elif "permission denied" in text:
        remedy = "the user must be allowed to make tables: GRANT CREATE ON SCHEMA public TO …"
    return f"{shown}: {text}; {remedy}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
