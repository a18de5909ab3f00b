"""A PostgreSQL server of its own for the tests, in a folder that is thrown away."""

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
    """Where the server's programs are: on PATH, or where Debian has them, the newest."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    whole = [path for path in versions if all((path / name).is_file() for name in PROGRAMS)]
    return max(whole, key=lambda path: float(path.parent.name), default=None)


def unprivileged() -> list[str]:
    """What goes before a command of the server, which refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@dataclass
class Server:
    """A server that runs, or did."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its first database, by the socket, where no password is asked for."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str = "postgres", password: str = "", user: str = USER) -> str:
        """Of a database, by TCP, where a password is asked for."""
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
        """At once, as in a crash."""
        assert self.process is not None
        self.process.send_signal(3)  # SIGQUIT: immediate shutdown
        self.process.wait(timeout=60)

    def execute(self, statement: str) -> None:
        url = self.url.replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """The URL of one that is empty; its connections end with it, whoever holds them."""
        name = f"s{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server() -> Iterator[Server]:
    """Skips the test where there is no PostgreSQL, but not in CI."""
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
