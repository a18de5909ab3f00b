"""Which processes are at work on a study, without heartbeats or process ids.

A process holds a file locked for as long as it lives. The system frees the lock however the process
ends, and it answers across containers and machines that share the folder, where ids mean nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def worker_name() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


@contextmanager
def presence(folder: Path) -> Iterator[str]:
    """A name for this process, that `is_present` knows until the block or the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    name = worker_name()
    with FileLock(folder / name):
        try:
            yield name
        finally:
            (folder / name).unlink()


def is_present(folder: Path, name: str) -> bool:
    """Whether the process that `presence` gave `name` to is still there."""
    path = folder / name
    if not path.is_file():
        return False
    try:
        with FileLock(path, blocking=False):
            path.unlink()
    except Timeout:
        return True
    return False
