"""A real study in optuna-dashboard and MLflow, in a headless Chromium."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import pytest
from mlflow import MlflowClient
from PIL import Image

from vaebalance.study.command import run
from vaebalance.study.options import Options

ROOT = Path(__file__).parents[2]
TIMEOUT = 60_000  # ms, for a busy machine
SETTINGS = {
    "study": "seen",
    "objective": "{kind: frontier}",
    "sampler": "quasi_random",
    "trials": "3",
    "epochs": "2",
}


@pytest.fixture(scope="module")
def folder(made_project, write_params):
    """Make a project with a finished study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made_project)
        for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        write_params(**SETTINGS)
        run(Options(list=False, promote=None))
        yield made_project


@contextmanager
def serving(folder, command, path):
    """Start a server by `command` and a free port; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not answers(f"http://127.0.0.1:{port}{path}"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("the server did not come up")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:  # a gentler signal waits for the browser's open connections
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture
def page(browser):
    """Open a page that fails the test if it requests anything from another machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(TIMEOUT)
    strangers = []

    def guard(route):
        if urlparse(route.request.url).hostname in {"127.0.0.1", None}:
            route.continue_()
        else:
            strangers.append(route.request.url)
            route.abort()

    page.route("**/*", guard)
    yield page
    page.close()
    assert strangers == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return the folder for screenshots."""
    wanted = os.environ.get("VAEBALANCE_SCREENSHOTS")
    found = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    found.mkdir(parents=True, exist_ok=True)
    return found


def wait_for_picture(page, width, source=""):
    """Wait until an image of that width, whose address contains `source`, is loaded."""
    page.wait_for_function(
        """([width, source]) => [...document.images].some(
            image => image.src.includes(source) && image.naturalWidth == width)""",
        arg=[width, source],
    )


def width_of(path):
    """Return the width of a picture in pixels."""
    with Image.open(path) as picture:
        return picture.width


def test_the_dashboard_shows_the_study_its_numbers_by_name_and_pictures(folder, page, pictures):
    """Use the command in the README."""
    study = "studies/seen"
    readme = (ROOT / "README.md").read_text("utf-8")
    arguments = ["--artifact-dir", f"{study}/artifacts", f"{study}/study.journal"]
    assert f"optuna-dashboard {' '.join(arguments)}".replace("seen", "balance") in readme
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), *arguments]
    with serving(folder, command, "/dashboard") as address:
        page.goto(f"{address}/dashboard")
        page.get_by_text("seen").first.wait_for()
        page.goto(f"{address}/dashboard/studies/0")
        for name in ("validation D, nats per image", "validation R, nats per image"):
            page.get_by_text(name).first.wait_for()
        page.screenshot(path=pictures / "dashboard.png", full_page=True)
        page.goto(f"{address}/dashboard/studies/0/trials?numbers=1")
        page.get_by_text("reconstructions.png").wait_for()
        (picture, *_) = (folder / study / "artifacts").iterdir()
        wait_for_picture(page, width_of(picture), "/artifacts/0/1/")
        page.screenshot(path=pictures / "dashboard_trial.png", full_page=True)


def test_mlflow_shows_the_figures_of_the_study_and_the_picture_of_a_trial(folder, page, pictures):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("vaebalance").experiment_id
    found = client.search_runs([experiment], "tags.`vaebalance.study` = 'seen'")
    runs = {run.info.run_name: run.info.run_id for run in found}
    command = [sys.executable, "-m", "vaebalance.cli", "ui"]
    with serving(folder, command, "/health") as address:

        def visit(run, path):
            page.goto("about:blank")
            page.goto(
                f"{address}/#/experiments/{experiment}/runs/{runs[run]}{path}"
                "?workflowType=machine_learning"
            )

        visit("seen", "")
        page.get_by_role("heading", name="seen").wait_for()
        page.get_by_text("trial 2").first.wait_for()
        page.screenshot(path=pictures / "mlflow_study.png")
        visit("seen", "/artifacts/figures/frontier.png")
        for figure in ("frontier", "history", "slices"):
            page.get_by_text(f"{figure}.png").first.wait_for()
        wait_for_picture(page, width_of(folder / "studies/seen/figures/frontier.png"))
        page.screenshot(path=pictures / "mlflow_frontier.png")
        visit("seen", "/artifacts/figures/all.html")
        page.frame_locator("iframe").locator("svg.marks").wait_for()
        page.screenshot(path=pictures / "mlflow_all.png")
        visit("trial 1", "/artifacts/reconstructions.png")
        (picture, *_) = (folder / "studies/seen/artifacts").iterdir()
        wait_for_picture(page, width_of(picture))
        page.screenshot(path=pictures / "mlflow_trial.png")
