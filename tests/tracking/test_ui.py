"""MLflow's pages over a run, in a headless Chromium."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest

from vaebalance import tracking

TIMEOUT = 60_000  # ms: a busy machine


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(port):
    command = [sys.executable, "-m", "vaebalance.tracking", "--port", str(port)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def run(shared_project):
    """Make a run with curves, an evaluation and a report."""
    provenance = shared_project.provenance()
    with tracking.run(provenance, "train"):
        shared_project.write_training(provenance, epochs=12)
    with tracking.run(provenance, "evaluate"):
        shared_project.write_evaluation()
    with tracking.run(provenance, "report") as tracker:
        shared_project.write_report()
    return tracker


@pytest.fixture(scope="module")
def server(run):
    """Start what `make ui` starts; return address and process."""
    port = free_port()
    process = start(port)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while not answers(f"{address}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("the server did not come up")
            time.sleep(0.2)
        yield address, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def page(browser):
    """Open a page; requests beyond this machine are refused and listed in `page.strangers`."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(TIMEOUT)
    page.strangers = []

    def guard(route):
        if urlparse(route.request.url).hostname in {"127.0.0.1", None}:
            route.continue_()
        else:
            page.strangers.append(route.request.url)
            route.abort()

    page.route("**/*", guard)
    return page


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return the folder of the screenshots."""
    wanted = os.environ.get("VAEBALANCE_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_it_is_light_and_reachable_from_this_machine_only(server):
    _, process = server
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) <= 3
    listening = {
        connection.laddr.ip
        for member in family
        for connection in member.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_taken_port_is_named(server):
    port = urlparse(server[0]).port
    second = start(port)
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 2
    assert f"port {port}" in output
    assert "--port" in output
    assert "Traceback" not in output


def run_page(server, run, tab=""):
    page = f"#/experiments/{run.store.experiment_id}/runs/{run.run_id}{tab}"
    return f"{server[0]}/{page}?workflowType=machine_learning"


def test_the_run_page_shows_settings_and_metrics(server, run, page, pictures):
    page.goto(run_page(server, run))
    page.get_by_role("heading", name="digits alpha=1 beta=1 bernoulli fixed").wait_for()
    for text in ("stage.report", "test/rate", "balance.beta"):
        page.get_by_text(text).first.scroll_into_view_if_needed()
    page.screenshot(path=pictures / "run.png")


CURVES = """() => Object.fromEntries(
    [...document.querySelectorAll("[data-testid=experiment-view-compare-runs-card]")].map(card => {
        const chart = card.querySelector(".js-plotly-plot");
        const drawn = card.querySelector(".scatterlayer path.js-line");
        const title = card.innerText.trim().split("\\n")[0];
        return [title, drawn && chart && [[...chart.data[0].x], [...chart.data[0].y]]];
    })
)"""


def test_the_charts_of_distortion_and_rate_are_drawn(server, run, page, pictures, shared_project):
    page.goto(run_page(server, run, "/model-metrics"))
    page.get_by_placeholder("Search metric charts").fill("train/(distortion|rate)$")
    page.wait_for_function(f"() => Object.values(({CURVES})()).filter(Boolean).length == 2")
    page.screenshot(path=pictures / "charts.png")
    curves = page.evaluate(CURVES)
    records = shared_project.records(12)
    assert set(curves) == {"distortion", "rate"}
    for name, (steps, values) in curves.items():
        assert steps == [record.step for record in records]
        assert values == [record.metrics()[f"train/{name}"] for record in records]


def test_the_report_opens_among_the_artifacts(server, run, page, pictures):
    page.goto(run_page(server, run, "/artifacts/report/index.html"))
    report = page.frame_locator("iframe")
    report.get_by_role("heading", name="The latent space report").wait_for()
    page.screenshot(path=pictures / "report.png")


def test_the_pages_need_nothing_from_beyond_this_machine(page):
    assert page.strangers == []
