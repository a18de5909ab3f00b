"""`python -m vaebalance.tracking`: MLflow's pages over this project's store, light and local."""

from __future__ import annotations

import argparse
import socket

from vaebalance.base.errors import UserError
from vaebalance.base.process import run_stage
from vaebalance.tracking.store import open_store, tracking_uri
from vaebalance.tracking.ui import HOST, serve

LARGEST_PORT = 65535


def usable_port(text: str) -> int:
    """Return the port that `text` names.

    Raises:
        UserError: it names none, or the port cannot be listened to.
    """
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= port <= LARGEST_PORT:
        raise UserError(
            f"--port {text}: must be a whole number from 1 to {LARGEST_PORT}, such as 5000."
        )
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
    return port


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m vaebalance.tracking", description=__doc__)
    parser.add_argument("--port", default="5000", help="port on this machine (5000)")
    port = usable_port(parser.parse_args().port)
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise UserError(f"MLFLOW_TRACKING_URI is a server with pages of its own: open {uri}.")
    experiment = open_store().experiment_id
    page = f"http://{HOST}:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    print(f"{uri}\nopen {page}\n(ready in some seconds; Ctrl-C ends it)", flush=True)
    serve(uri, port)


if __name__ == "__main__":
    run_stage(main)
