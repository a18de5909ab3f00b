"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker has a core, not all of them

# (Imported before torch, the package sets how OpenMP's threads wait.)
from vaebalance.data import Dataset, DataSpec, open_dataset, prepare
from vaebalance.tracking import store

ROOT = Path(__file__).parent.parent

PATIENCE = 60_000  # ms: a busy machine
CHROMIUM = os.environ.get("VAEBALANCE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# With several workers the long ones first: whoever gets them last keeps the others waiting.
LONGEST_FIRST = ("pipeline", "report", "tuning", "comparison", "slider", "curve", "tracking")
"""Folders of tests."""
TOGETHER = {"report", "comparison", "slider", "curve"}
"""Folders whose files share what is costly to make: one worker runs them all."""

# A busy machine is no error.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def folder_of(nodeid: str) -> str:
    """The folder below tests/ that a test is in; empty for those at the top."""
    return "/".join(nodeid.partition("::")[0].split("/")[1:-1])


def scope_of(nodeid: str) -> str:
    """What one worker runs whole: a file, or a folder of files that share."""
    folder = folder_of(nodeid)
    return folder if folder in TOGETHER else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest folders to the front; all else stays as it was."""
    place = {folder: index for index, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(folder_of(item.nodeid), len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`: files in that order, and some folders whole."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # the files with the most tests are not the longest
    return Scheduling(config, log)


def make_data_spec(source: dict[str, Any] | None = None, **changes: Any) -> DataSpec:
    """The `data` section with ordinary values but for `changes`."""
    values: dict[str, Any] = {
        "source": source or {"kind": "digits"},
        "root": "data/raw",
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
        "max_images": None,
        "max_bad_fraction": 0.1,
        "max_pixels": 100_000_000,
        "binarisation": "none",
        "workers": 1,
    }
    return DataSpec.model_validate(values | changes)


@pytest.fixture
def quick_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as `train.checkpoint_every` says, however little lies between them."""
    monkeypatch.setattr("vaebalance.run.checkpoints.SECONDS_BETWEEN", 0.0)


@pytest.fixture(scope="session")
def data_spec() -> Callable[..., DataSpec]:
    """Makes a `DataSpec`: `data_spec({"kind": ...}, root=..., ...)`."""
    return make_data_spec


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The embedded digits, prepared with seed 0."""
    folder = tmp_path_factory.mktemp("digits") / "prepared"
    prepare(make_data_spec(), 0, folder)
    return open_dataset(folder)


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow store to copy, made by one worker for all: making one takes seconds."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "fresh_database" / store.DATABASE
    store.set_defaults()
    store.create_database(f"{store.SQLITE}{path}")
    return path


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process has three threads, and its user has said nothing of them."""
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def step_compiled() -> Callable[..., Any]:
    """`step_compiled(balance=…, likelihood=…, penalty=…)`: see `both_steps.take_both`."""
    from tests.helpers.both_steps import take_both

    return take_both


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A folder with torchvision's MNIST in it."""
    places = [os.environ.get("VAEBALANCE_MNIST"), ROOT.parent / "shared" / "data"]
    for place in places:
        if place and (Path(place) / "MNIST" / "raw").is_dir():
            return Path(place)
    pytest.skip("no MNIST: set VAEBALANCE_MNIST to a folder that holds MNIST/raw")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, through playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        missing = f"no Chromium at {CHROMIUM}; name one in VAEBALANCE_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield found
        found.close()


Visit = Callable[..., tuple[Any, list[str]]]


@contextmanager
def visiting(browser: Any) -> Iterator[Visit]:
    """`visit(path, before, **options)`: a page, and what it asked for and complained of.

    `before` is a script that runs before those of the page.
    """
    contexts: list[Any] = []

    def go(path: Path, before: str | None = None, **options: Any) -> tuple[Any, list[str]]:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        heard: list[str] = []
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith("data:") else heard.append(f"asked {request.url}")
            ),
        )
        if before is not None:
            page.add_init_script(before)
        page.goto(path.as_uri())
        return page, heard

    yield go
    for context in contexts:
        context.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """See `visiting`: the pages of one test."""
    with visiting(browser) as go:
        yield go


@pytest.fixture(scope="module")
def visit_once(browser: Any) -> Iterator[Visit]:
    """See `visiting`: pages that a file's tests share."""
    with visiting(browser) as go:
        yield go
