"""The logged model, loaded without pickles, in Python and behind HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from vaebalance import tracking
from vaebalance.tracking.packaging import REQUIREMENTS, requirements
from vaebalance.tracking.serving import Request, answer
from vaebalance.tracking.store import open_store

LOAD = """
import builtins, json, sys
import mlflow

imported, import_ = set(), builtins.__import__

def noting(name, globals=None, *rest, **more):
    if str((globals or {}).get("__file__")).startswith(sys.argv[1]):
        imported.add(name.partition(".")[0])
    return import_(name, globals, *rest, **more)

builtins.__import__ = noting
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict({}, params={"call": "sample", "n": 1})
model.predict({"images": [[0.0] * 64]}, params={"call": "encode"})
import vaebalance
print(json.dumps([vaebalance.__file__, sorted(imported - sys.stdlib_module_names)]))
"""


@pytest.fixture(scope="module")
def logged(shared_project):
    """Log a model; return the run's id and the model folder."""
    with tracking.run(shared_project.provenance(), "train") as tracker:
        shared_project.write_training(shared_project.provenance())
    store = open_store()
    (model,) = store.client.search_logged_models(
        [store.experiment_id], f"source_run_id = '{tracker.run_id}'"
    )
    return tracker.run_id, Path(model.artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 1, 8, 8)).round(3)


def test_the_runs_model_loads_and_predicts(logged, vae, images):
    import mlflow

    before = mlflow.get_tracking_uri()
    tracking.configure()
    try:
        model = mlflow.pyfunc.load_model(f"runs:/{logged[0]}/model")
    finally:
        mlflow.set_tracking_uri(before)
    got = model.predict({"images": images}, params={"call": "reconstruct"})
    expected = answer(vae, Request("reconstruct", images=images))
    np.testing.assert_array_equal(got["images"], expected["images"])
    assert model.metadata.run_id == logged[0]
    assert [param.name for param in model.metadata.signature.params] == ["call", "n", "seed"]
    assert set(model.metadata.signature.inputs.input_names()) == {"images", "latents"}


def test_nothing_in_it_is_pickled(logged):
    files = [path for path in logged[1].rglob("*") if path.is_file()]
    assert any(path.name == "weights.safetensors" for path in files)
    assert {path.suffix for path in files if "code" not in path.parts} <= {
        "", ".json", ".py", ".safetensors", ".txt", ".yaml"
    }  # fmt: skip
    assert not [path for path in files if path.suffix in {".pkl", ".pyc", ".pt", ".pth"}]


def test_it_brings_its_code_and_names_what_else_it_needs(logged):
    command = [sys.executable, "-c", LOAD, str(logged[1])]
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    package, imported = json.loads(result.stdout.splitlines()[-1])
    assert Path(package).is_relative_to(logged[1] / "code")
    assert {"torch", "safetensors", "vaebalance"} <= set(imported) <= {*REQUIREMENTS, "vaebalance"}
    assert (logged[1] / "requirements.txt").read_text().split() == requirements()
    assert f"torch=={torch.__version__.partition('+')[0]}" in requirements()


@pytest.fixture(scope="module")
def served(logged, tmp_path_factory):
    """Run `mlflow models serve` on the logged model; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(logged[1])]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("served") / "log"
    folder = Path(sys.executable).parent  # MLflow calls uvicorn by name
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server, log)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=20)


def wait_for(address, server, log):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not come up:\n{log.read_text()}")


def post(address, content):
    """Send a request; return the HTTP status and the JSON answer."""
    request = urllib.request.Request(
        address, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_all_four_calls_are_served(served, vae, images):
    requests = {
        "reconstruct": {"inputs": {"images": images.tolist()}},
        "encode": {"dataframe_records": [{"images": image.tolist()} for image in images]},
        "decode": {"inputs": {"latents": [[0.0, 0.5, -1.0]]}},
        "sample": {"inputs": {}, "params": {"n": 3, "seed": 7}},
    }
    expected = {
        "reconstruct": Request("reconstruct", images=images),
        "encode": Request("encode", images=images),
        "decode": Request("decode", latents=[[0.0, 0.5, -1.0]]),
        "sample": Request("sample", n=3, seed=7),
    }
    for call, content in requests.items():
        content["params"] = {"call": call, **content.get("params", {})}
        status, got = post(served, content)
        assert status == 200, got
        for name, value in answer(vae, expected[call]).items():
            np.testing.assert_allclose(np.array(got["predictions"][name]), value, rtol=1e-5)
            assert np.array(got["predictions"][name]).shape == value.shape


def test_a_wrong_request_comes_back_with_its_reason(served):
    for content, reason in (
        ({"inputs": {"images": [[0.0] * 63]}, "params": {"call": "encode"}}, "[1, 63]; it must be"),
        ({"inputs": {}, "params": {"call": "dream"}}, "one of reconstruct, encode, decode, sample"),
        ({"inputs": {"images": [[0.0] * 64]}}, "params.call is ''"),
        ({"inputs": {}, "params": {"call": "sample", "n": "many"}}, "many"),
    ):
        status, got = post(served, content)
        assert status == 400
        assert reason in got["message"]
