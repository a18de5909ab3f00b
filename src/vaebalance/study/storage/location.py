"""Open the storage of studies: the database that is named, else files in studies/."""

from __future__ import annotations

import os
from pathlib import Path

from vaebalance.base.errors import UserError
from vaebalance.settings import PARAMS
from vaebalance.settings.storage_url import ENVIRONMENT, refusal
from vaebalance.study.storage.file_storage import FILE, FileStorage
from vaebalance.study.storage.storage import Storage


def database_setting(url: str | None) -> str | None:
    """Return the setting that names the database, `url` or the environment; None: neither does."""
    if os.environ.get(ENVIRONMENT):
        return ENVIRONMENT
    return None if url is None else f"{PARAMS}: tune.storage"


def open_storage(url: str | None, folder: Path) -> Storage:
    """Open the storage of the study in `folder`: that of the environment, of `url`, or a file.

    Raises:
        UserError: the database cannot be used, or the file is damaged.
    """
    origin = database_setting(url)
    if origin is None:
        return FileStorage(folder)
    url = os.environ.get(ENVIRONMENT) or url
    assert url is not None
    if reason := refusal(url):  # the settings have checked that of params.yaml
        raise UserError(f"the environment variable {ENVIRONMENT}: {reason}.")
    from vaebalance.study.storage.postgres_storage import (
        DatabaseStorage,  # SQLAlchemy: half a second
    )

    return DatabaseStorage(url, folder.name, origin)


def open_existing_storage(url: str | None, folder: Path) -> tuple[Storage | None, list[str]]:
    """Open the storage of a study that has begun, else None; and list the studies that have.

    Raises:
        UserError: see `open_storage`.
    """
    if database_setting(url) is None:
        names = sorted(path.parent.name for path in folder.parent.glob(f"*/{FILE}"))
        return (FileStorage(folder) if folder.name in names else None), names
    storage = open_storage(url, folder)
    names = storage.names()
    return (storage if folder.name in names else None), names
