"""MLflow's pages over a run, in a headless Chromium."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
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
    command = [sys.executable, "-m", "vaebalance.cli", "ui", "--port", str(port)]
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


@contextmanager
def started():
    """(address, process) of what `make ui` starts."""
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


@pytest.fixture(scope="module")
def server(run):
    with started() as found:
        yield found


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
    assert len(family) == 1
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


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "abc", "5000.0", "٥٠٠٠", ""])
def test_a_port_that_is_none_is_named_in_one_line(port):
    process = start(port)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert (
        output == f"error: --port {port}: must be a whole number from 1 to 65535, such as 5000.\n"
    )


def asked(server, method, path, *, host=None, body=None, **headers):
    """(status, body) of a request with the Host header `host`; None: the server's own."""
    address = urlparse(server[0])
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        content = None if body is None else json.dumps(body)
        headers |= {"Host": host or address.netloc, "Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


RUN_NAME = "digits alpha=1 beta=1 bernoulli fixed"
SEARCH = "/ajax-api/2.0/mlflow/runs/search"


def requests(run):
    """List what a page may ask: method, path, body, part of the answer."""
    ours = {"experiment_ids": [run.store.experiment_id]}
    query = f'{{mlflowGetExperiment(input: {{experimentId: "{run.store.experiment_id}"}}) '
    query += "{experiment {name}}}"
    return [
        ("GET", "/", None, b"<html"),
        ("GET", f"/get-artifact?path=report/index.html&run_uuid={run.run_id}", None, b"latent"),
        ("POST", "/graphql", {"query": query}, b"vaebalance"),
        ("POST", SEARCH, ours, RUN_NAME.encode()),
        ("POST", f"/api{SEARCH.removeprefix('/ajax-api')}", ours, RUN_NAME.encode()),
    ]


def spellings(server):
    port = urlparse(server[0]).port
    return [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"]


def test_its_own_names_are_answered(server, run):
    for method, path, body, part in requests(run):
        for host in spellings(server):
            status, answer = asked(server, method, path, host=host, body=body)
            assert (status, part in answer) == (200, True), (path, host)
        origin = f"http://{host}"
        assert asked(server, method, path, host=host, body=body, Origin=origin)[0] == 200


HOSTILE = [
    "10.evil.com",
    "192.168.evil.com:{port}",
    "127.0.0.1.evil.com:{port}",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:{other}",
    "localhost.:{port}",
    "0.0.0.0:{port}",
    "evil.com#@127.0.0.1:{port}",
]


@pytest.mark.parametrize("host", HOSTILE)
def test_other_names_are_refused(server, run, host):
    port = urlparse(server[0]).port
    host = host.format(port=port, other=port + 1)
    for method, path, body, _ in requests(run):
        status, answer = asked(server, method, path, host=host, body=body)
        assert (status, len(answer) < 100) == (403, True), path
    assert asked(server, "GET", "/version", host=host)[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.com", "null", "http://localhost:1", "https://{own}"]
)
def test_pages_from_elsewhere_are_refused(server, run, origin):
    origin = origin.format(own=urlparse(server[0]).netloc)
    for method, path, body, _ in requests(run):
        assert asked(server, method, path, body=body, Origin=origin)[0] == 403, path
        preflight = {"Origin": origin, "Access_Control_Request_Method": method}
        assert asked(server, "OPTIONS", path, **preflight)[0] == 403, path


def test_the_assistant_and_the_gateway_are_off(server):
    from mlflow.server.assistant.api import assistant_router
    from mlflow.server.gateway_api import gateway_router

    for router, refusal in ((assistant_router, 404), (gateway_router, 501)):
        assert router.routes
        for route in router.routes:
            path = re.sub("{[^}]*}", "name", route.path)
            for method in route.methods:
                assert asked(server, method, path, body={})[0] == refusal, path
    assert b'"gateway":false' in asked(server, "GET", "/ajax-api/3.0/mlflow/server-info")[1]


@pytest.mark.parametrize(
    "prefix", ["//", "/%61jax-api/3.0/mlflow/", "/ajax-api/3.0/mlflow/../mlflow/"]
)
def test_the_assistant_has_no_other_way_in(server, prefix):
    rest = "ajax-api/3.0/mlflow/assistant/config" if prefix == "//" else "assistant/config"
    assert asked(server, "GET", prefix + rest)[0] == 404


def test_what_the_environment_allows_elsewhere_is_not_allowed_here(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "*")
    monkeypatch.setenv("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "*")
    monkeypatch.setenv("MLFLOW_ENABLE_AI_GATEWAY", "true")
    monkeypatch.setenv("UVICORN_HOST", "0.0.0.0")
    with started() as server:
        assert asked(server, "GET", "/", host="10.evil.com")[0] == 403
        assert asked(server, "POST", "/graphql", body={}, Origin="http://evil.com")[0] == 403
        assert b'"gateway":false' in asked(server, "GET", "/ajax-api/3.0/mlflow/server-info")[1]
        test_it_is_light_and_reachable_from_this_machine_only(server)


def test_it_ends_when_told_to(run):
    with started() as (_, process):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in output


def run_page(server, run, tab=""):
    page = f"#/experiments/{run.store.experiment_id}/runs/{run.run_id}{tab}"
    return f"{server[0]}/{page}?workflowType=machine_learning"


def test_the_run_page_shows_settings_and_metrics(server, run, page, pictures):
    page.goto(run_page(server, run))
    page.get_by_role("heading", name=RUN_NAME).wait_for()
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
