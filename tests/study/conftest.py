"""A project on disk with few images and a small model, and studies of a toy objective."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from vaebalance.data import prepare
from vaebalance.settings import PARAMS, Settings, load

if TYPE_CHECKING:
    from tests.helpers.postgres import Server

ROOT = Path(__file__).parents[2]
SMALL = {
    "hidden": "[16]",
    "max_images": "150",
    "epochs": "3",
    "device": "cpu",
    "trials": "4",
}

Project = Callable[..., Path]
SCRIPTS = ("toy_workers.py", "toy_tune.py", "tune.py")
"""Scripts that tests start as processes."""


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """Kill the processes that a failed test has left."""
    before = set(psutil.Process().children(recursive=True))
    yield
    for process in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(Path(word).name in SCRIPTS for word in process.cmdline()):
                process.kill()
    for fork in multiprocessing.active_children():
        fork.kill()


def edited(text: str, space: str | None = None, **values: str) -> str:
    """Return the text of params.yaml with other values of knobs whose names occur once."""
    if space is not None:
        text, count = re.subn(r"(?m)^  space: .*\n    .*$", f"  space: {space}", text)
        assert count == 1
    for name, value in values.items():
        start = text.index("\ntune:") if name == "workers" else 0  # section data has this knob, too
        pattern = rf"(?m)^( *{name}:) +[^#\n]*?( *#|$)"
        tail, count = re.subn(pattern, rf"\1 {value}\2", text[start:])
        assert count == 1, name
        text = text[:start] + tail
    return text


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start a PostgreSQL server."""
    from tests.helpers.postgres import running_server

    with running_server() as running:
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """Return the URL of an empty database."""
    with server.new_database() as url:
        yield url


@pytest.fixture(params=["file", "database"])
def place(request: pytest.FixtureRequest) -> str | None:
    """Return the URL of an empty database, or None for studies in files."""
    if request.param == "file":
        return None
    url: str = request.getfixturevalue("database")
    return url


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare a few of the digits."""
    folder = tmp_path_factory.mktemp("prepared")
    params = folder / PARAMS
    params.write_text(edited((ROOT / PARAMS).read_text("utf-8"), **SMALL), "utf-8")
    settings = load(Settings, params)
    prepare(settings.data, settings.seed, folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="session")
def made_project(
    tmp_path_factory: pytest.TempPathFactory, prepared: Path, fresh_database: Path
) -> Path:
    """Make the project and return its folder."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(fresh_database, folder)
    shutil.copytree(prepared, folder / "data" / "prepared")
    return folder


@pytest.fixture(scope="session")
def write_params(made_project: Path) -> Callable[..., None]:
    """Return a function that writes the project's params.yaml with given values."""

    def write(**values: str) -> None:
        text = edited((ROOT / PARAMS).read_text("utf-8"), **{**SMALL, **values})
        (made_project / PARAMS).write_text(text, "utf-8")

    return write


@pytest.fixture
def project(
    made_project: Path, write_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Enter the project, and return a function that writes params.yaml and gives the folder."""
    monkeypatch.chdir(made_project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("VAEBALANCE_STORAGE", raising=False)

    def enter(**values: str) -> Path:
        write_params(**values)
        return made_project

    return enter
