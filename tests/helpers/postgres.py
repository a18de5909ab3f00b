"""A temporary PostgreSQL server for the tests."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

USER, PASSWORD = "vaebalance", "s3cret-word"
PROGRAMS = ("initdb", "postgres")
SPEED = ("-c", "fsync=off")


def folder_of_programs() -> Path | None:
    """Find the server's programs on PATH, or else the newest in Debian's folder."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    whole = [path for path in versions if all((path / name).is_file() for name in PROGRAMS)]
    return max(whole, key=lambda path: float(path.parent.name), default=None)


def unprivileged() -> list[str]:
    """Return the prefix of server commands, which refuse to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@dataclass
class Server:
    """A server that is running or has stopped."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the first database through the socket, which asks for no password."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str = "postgres", password: str = "", user: str = USER) -> str:
        """Return the URL of a database through TCP, which asks for a password."""
        secret = f":{password}" if password else ""
        return f"postgresql+psycopg://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def command(self, name: str, *arguments: str) -> list[str]:
        prefix = unprivileged() if os.geteuid() == 0 else []
        return [*prefix, str(self.programs / name), *arguments]

    def make(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        data = [
            "-D",
            str(self.folder / "data"),
            "-U",
            USER,
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        subprocess.run(self.command("initdb", *data, *options), check=True, capture_output=True)

    def start(self) -> None:
        where = ["-D", str(self.folder / "data"), "-k", str(self.folder), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("postgres", *where, "-h", "127.0.0.1", *SPEED), stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop the server immediately, as in a crash."""
        assert self.process is not None
        self.process.send_signal(3)  # SIGQUIT: immediate shutdown
        self.process.wait(timeout=60)

    def execute(self, statement: str) -> None:
        url = self.url.replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Yield the URL of an empty database; drop it and all its connections at the end."""
        name = f"s{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server() -> Iterator[Server]:
    """Skip the test if PostgreSQL is missing, except in CI."""
    programs = folder_of_programs()
    if programs is None:
        missing = "no PostgreSQL: neither is initdb on PATH nor anything in /usr/lib/postgresql"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is 107 bytes at most
    server = Server(programs, folder, port)
    try:
        server.make()
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
        shutil.rmtree(folder)
