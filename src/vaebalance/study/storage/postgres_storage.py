"""A study in PostgreSQL, which many machines share.

Locks are the database's own advisory locks, freed when the holder's connection ends, however that
comes. Who is at work is told by heartbeats instead: a worker that lost its connection for a moment,
or whose server was restarted, goes on with its trial, and must not be taken for gone meanwhile. A
machine that vanished is quiet for `grace` seconds, and then its trial is run again. One that ends
in an orderly way (an error, Ctrl-C) takes its heartbeat away, and need not be waited for.
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
from vaebalance.study.storage.heartbeat import worker_name
from vaebalance.study.storage.storage import WORKER, Result

DIALECT = "postgresql+psycopg"
RETRY_SECONDS = 1.0
CONNECTION = {
    "connect_timeout": 10,
    "application_name": "vaebalance",
    # A server that vanished is noticed after a minute, not after the system's two hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


POOL = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 2}
"""A server has some 100 connections for all: a process keeps one for its locks and one for Optuna,
and takes one more while a heartbeat coincides with another statement."""


@dataclass(frozen=True)
class Rhythm:
    """How long the processes of a study wait for each other and for the server, in seconds."""

    heartbeat: int = 10
    grace: int = 60
    """Without a heartbeat, until a trial is another's to run."""
    patience: float = 300.0
    """Without a connection, until a process gives up."""


RHYTHM = Rhythm()


class DatabaseStorage:
    """See `storage.Storage`."""

    def __init__(self, url: str, study: str, origin: str, rhythm: Rhythm | None = None) -> None:
        """Connect to the database, which is given Optuna's tables if it has none.

        Args:
            url: of the database.
            study: its name.
            origin: where the URL was given.
            rhythm: None: the usual one.

        Raises:
            UserError: it cannot be reached or used; without any password.
        """
        parsed, arguments = _parse(url, origin)
        self._shown = f"{origin} = {parsed.render_as_string()!r}"
        self._study = study
        self._rhythm = rhythm or RHYTHM
        self._holding: list[str] = []
        # The URL that is handed on says nothing: no error or log of theirs has a password to show.
        options = {**POOL, "connect_args": arguments}
        self._engine = sqlalchemy.create_engine(f"{DIALECT}://", **options)  # for locks
        try:
            # Two that make the tables at once would fail.
            with self._locked("tables"):
                self._database = self._open(options)
        except (DBAPIError, StorageInternalError) as error:
            raise UserError(_reason(_driver_error(error), parsed, self._shown)) from None
        except RuntimeError as error:  # Optuna's: tables of another version of it
            raise UserError(f"{self._shown}: {error}") from error
        self.optuna: BaseStorage = get_storage(self._database)  # which remembers ended trials

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
        # Of a transaction, not of a session: no connection goes back to the pool with it.
        with self._engine.begin() as connection:
            connection.execute(
                sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(name)}
            )
            self._holding.append(name)
            try:
                yield
            finally:
                self._holding.remove(name)

    def presence(self) -> AbstractContextManager[str]:
        """See `Storage`; the trial's heartbeat is what others look at."""
        return nullcontext(worker_name())

    def claimed(self, trial_id: int) -> None:
        """See `Storage`."""
        self._database.record_heartbeat(trial_id)

    @contextmanager
    def attending(self, trial_id: int, worker: str) -> Iterator[None]:
        """See `Storage`."""
        try:
            with self._beating(trial_id):
                yield
        except BaseException:
            self._leave(trial_id, worker)
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
                # The next beat tries again, and the trial's end tells whether it is still ours.
                if not _is_of_connection(error):
                    raise

    def _leave(self, trial_id: int, worker: str) -> None:
        """Take the heartbeat away, unless the trial is another's by now."""
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
            # Perhaps the very reason for leaving. The others see the heartbeat grow old.

    def abandoned(self, running: Mapping[int, str]) -> set[int]:
        """See `Storage`.

        A trial without any heartbeat was left in order, or by a process that was killed after it
        had added the trial: it held the lock then, as the caller does now.
        """
        if not running:
            return set()
        with self._database.engine.connect() as connection:
            beating = set(
                connection.scalars(sqlalchemy.text("SELECT trial_id FROM trial_heartbeats"))
            )
            # A server that was down has heard nobody: nobody is judged until all could be heard.
            has_listened = connection.scalar(
                sqlalchemy.text(
                    "SELECT now() - pg_postmaster_start_time() > make_interval(secs => :grace)"
                ),
                {"grace": self._rhythm.grace},
            )
        found = set(running) - beating
        if has_listened:
            study_id = self.optuna.get_study_id_from_name(self._study)
            found |= set(self._database._get_stale_trial_ids(study_id))
        return found & set(running)

    def patiently(self, act: Callable[[], Result]) -> Result:
        """See `Storage`.

        Raises:
            UserError: the connection stays lost.
        """
        if self._holding:
            return act()  # a lock is lost with its connection: its holder begins again, as a whole
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
    """The URL without a password, and what the driver is to be told."""
    try:
        parsed = sqlalchemy.make_url(url).set(drivername=DIALECT)
        found = dict(parsed.get_dialect()().create_connect_args(parsed)[1])
    except (ArgumentError, ValueError):  # whose messages may have a part of the URL
        raise UserError(
            f"{origin}: not a URL of a database (is its port a number, and is each of : / @ in "
            f"user and password written as %3A %2F %40?); it is like {EXAMPLE}."
        ) from None
    secret = [key for key in parsed.query if "password" in key.lower()]
    shown = parsed._replace(password=None).difference_update_query(secret)  # set() ignores None
    return shown, {**CONNECTION, **found}


def _agree_on_the_time(engine: sqlalchemy.Engine) -> None:
    """Let all sessions of the engine be in UTC.

    Optuna writes heartbeats in the session's local time: machines must agree on it, all year. (As a
    connection's option it would give way to PGTZ.)
    """

    def set_utc(connection: psycopg.Connection[Any], _: object) -> None:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    engine.dispose()  # those that are open have not been told
    sqlalchemy.event.listen(engine, "connect", set_utc)


def _key(name: str) -> int:
    """An advisory lock's key: 64 bits for the whole database."""
    digest = hashlib.sha256(f"vaebalance {name}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _driver_error(error: BaseException) -> BaseException:
    """What the driver said."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _is_of_connection(error: BaseException) -> bool:
    """Whether another attempt may go well: the server is away, or starts or ends."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def _reason(error: BaseException, url: sqlalchemy.URL, shown: str) -> str:
    """Why the database cannot be used, and what to do."""
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
