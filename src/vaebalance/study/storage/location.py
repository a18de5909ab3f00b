"""Where the studies of this project lie: a database that was named, else files in studies/."""

from __future__ import annotations

import os
from pathlib import Path

from vaebalance.base.errors import UserError
from vaebalance.settings import PARAMS, Settings
from vaebalance.settings.storage_url import ENVIRONMENT, refusal
from vaebalance.study.storage.file_storage import FILE, FileStorage
from vaebalance.study.storage.storage import Storage


def database_setting(settings: Settings) -> str | None:
    """What names the database; None: studies lie in files."""
    if os.environ.get(ENVIRONMENT):
        return ENVIRONMENT
    return None if settings.tune.storage is None else f"{PARAMS}: tune.storage"


def open_storage(settings: Settings, folder: Path) -> Storage:
    """The place of the study whose files are in `folder`.

    Raises:
        UserError: the database cannot be used, or the file is damaged.
    """
    origin = database_setting(settings)
    if origin is None:
        return FileStorage(folder)
    url = os.environ.get(ENVIRONMENT) or settings.tune.storage
    assert url is not None
    if reason := refusal(url):  # what params.yaml says was checked with the rest of it
        raise UserError(f"the environment variable {ENVIRONMENT}: {reason}.")
    from vaebalance.study.storage.postgres_storage import (
        DatabaseStorage,  # SQLAlchemy: half a second
    )

    return DatabaseStorage(url, folder.name, origin)


def open_existing_storage(settings: Settings, folder: Path) -> tuple[Storage | None, list[str]]:
    """The place of a study that was begun, else None; and the studies that were.

    Raises:
        UserError: see `open_storage`.
    """
    if database_setting(settings) is None:
        names = sorted(path.parent.name for path in folder.parent.glob(f"*/{FILE}"))
        return (FileStorage(folder) if folder.name in names else None), names
    storage = open_storage(settings, folder)
    names = storage.names()
    return (storage if folder.name in names else None), names
