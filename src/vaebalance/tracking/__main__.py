"""`python -m vaebalance.tracking`: MLflow's pages over this project's store, light and local."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from vaebalance.base.errors import UserError
from vaebalance.base.process import run_stage
from vaebalance.tracking.store import artifact_root, open_store, set_defaults, tracking_uri

HOST = "127.0.0.1"  # there is no password: never beyond this machine


def server_command(uri: str, port: int) -> list[str]:
    """Return the command of MLflow's server, with one worker on the loopback address."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if root := artifact_root(uri):
        command += ["--default-artifact-root", root.as_uri()]
    return [*command, "--host", HOST, "--port", str(port), "--workers", "1"]


def check_port(port: int) -> None:
    """Check that `port` is free.

    Raises:
        UserError: it is not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}): another program may have it, "
                f"perhaps this one, started before. Open http://{HOST}:{port} to see, or choose "
                "another with --port."
            ) from error


def main() -> None:
    """Replace this process by the server."""
    parser = argparse.ArgumentParser(prog="python -m vaebalance.tracking", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="port on this machine (5000)")
    port = parser.parse_args().port
    set_defaults()  # the server inherits them
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise UserError(f"MLFLOW_TRACKING_URI is a server with pages of its own: open {uri}.")
    check_port(port)
    experiment = open_store().experiment_id
    page = f"http://{HOST}:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    print(f"{uri}\nopen {page}\n(ready in some seconds; Ctrl-C ends it)", flush=True)
    os.execv(sys.executable, server_command(uri, port))


if __name__ == "__main__":
    run_stage(main)
