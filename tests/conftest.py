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

LONGEST_FIRST = (
    "pipeline",
    "pages/report",
    "study",
    "study/search",
    "study/storage",
    "study/results",
    "study/by_curve",
    "pages/comparison",
    "pages/slider",
    "curve",
    "tracking",
)
"""Folders of long tests, which start first so that no worker runs one alone at the end."""
TOGETHER = {"pages/report", "pages/comparison", "pages/slider", "curve"}
"""Folders whose files share costly fixtures, so that one worker runs each of them whole."""

# A busy machine must not fail a test.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def folder_of(nodeid: str) -> str:
    """Return a test's folder below tests/; empty for a file directly in tests/."""
    return "/".join(nodeid.partition("::")[0].split("/")[1:-1])


def scope_of(nodeid: str) -> str:
    """Return the file, or the folder in `TOGETHER`, that one worker runs whole."""
    folder = folder_of(nodeid)
    return folder if folder in TOGETHER else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the folders in `LONGEST_FIRST` to the front and keep the order of the rest."""
    place = {folder: index for index, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(folder_of(item.nodeid), len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule files in that order, and some folders whole, for `--dist loadfile`."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # files with the most tests take not the most time
    return Scheduling(config, log)


def make_data_spec(source: dict[str, Any] | None = None, **changes: Any) -> DataSpec:
    """Build a `data` section with ordinary values except for `changes`."""
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
    """Write checkpoints as often as `train.checkpoint_every` says, without a minimum interval."""
    monkeypatch.setattr("vaebalance.run.checkpoints.SECONDS_BETWEEN", 0.0)


@pytest.fixture(scope="session")
def data_spec() -> Callable[..., DataSpec]:
    """Return a function that makes a `DataSpec`: `data_spec({"kind": ...}, root=..., ...)`."""
    return make_data_spec


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Prepare the embedded digits with seed 0."""
    folder = tmp_path_factory.mktemp("digits") / "prepared"
    prepare(make_data_spec(), 0, folder)
    return open_dataset(folder)


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an empty MLflow store to copy, once for all workers, since this takes seconds."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "fresh_database" / store.DATABASE
    store.set_defaults()
    store.create_database(f"{store.SQLITE}{path}")
    return path


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run with three threads and without `OMP_NUM_THREADS`."""
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def step_compiled() -> Callable[..., Any]:
    """Return a function of balance, likelihood and penalty: see `both_steps.take_both`."""
    from tests.helpers.both_steps import take_both

    return take_both


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """Return a folder with torchvision's MNIST."""
    places = [os.environ.get("VAEBALANCE_MNIST"), ROOT.parent / "shared" / "data"]
    for place in places:
        if place and (Path(place) / "MNIST" / "raw").is_dir():
            return Path(place)
    pytest.skip("no MNIST: set VAEBALANCE_MNIST to a folder that holds MNIST/raw")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a headless Chromium with playwright."""
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
    """Return `visit(path, before, **options)`: a page, its requests and its complaints.

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
    """Open pages for one test: see `visiting`."""
    with visiting(browser) as go:
        yield go


@pytest.fixture(scope="module")
def visit_once(browser: Any) -> Iterator[Visit]:
    """Open pages that a file's tests share: see `visiting`."""
    with visiting(browser) as go:
        yield go
