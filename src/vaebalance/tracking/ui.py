"""MLflow's web application as `make ui` serves it: to its own pages on this machine only.

MLflow's server has no password: it answers whatever a browser on this machine is made to ask.
Three kinds of request are refused before MLflow sees them: those whose Host is not this server (a
foreign name that was made to lead here: DNS rebinding), those whose Origin is another page, and
those to MLflow's assistant, which runs shell commands and has no switch.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.tracking.store import artifact_root, open_store, tracking_uri

HOST = "127.0.0.1"  # never beyond this machine
NAMES = (HOST, "localhost", "[::1]")  # the last through a tunnel only: the server listens to IPv4
LARGEST_PORT = 65535
HTTP_PORT = 80  # browsers leave it out of Host and Origin
ASSISTANT = "/mlflow/assistant"  # in the path, after the version of the interface
ENVIRONMENT = {  # of MLflow's server, whatever the user has set
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "",  # no other origins
    "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",  # MLflow shows reports in a frame
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
"""ASGI's, of HTTP alone."""


def serve(port: str) -> None:
    """Serve MLflow's pages over the project's store on the loopback address until interrupted.

    Raises:
        UserError: the port cannot be used, or the store is a server itself.
    """
    number = usable_port(port)
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise UserError(f"MLFLOW_TRACKING_URI is a server with pages of its own: open {uri}.")
    experiment = open_store().experiment_id
    page = f"http://{HOST}:{number}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    print(f"{uri}\nopen {page}\n(ready in some seconds; Ctrl-C ends it)", flush=True)
    _serve(uri, number)


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


def _serve(uri: str, port: int) -> None:
    import uvicorn

    application = guarded(_application(uri, port), port)
    # Without its start-up: MLflow would look for containers of its assistant.
    uvicorn.run(
        application, host=HOST, port=port, ws="none", lifespan="off", proxy_headers=False, workers=1
    )


def _application(uri: str, port: int) -> Application:
    """MLflow's application; it is set up by environment variables alone, before its import."""
    os.environ.update(ENVIRONMENT)
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(hosts(port))
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
    if root := artifact_root(uri):
        os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = root.as_uri()
    else:  # what `mlflow server` does where it is told no root
        os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
        os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = "./mlartifacts"
        os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    from mlflow.server.fastapi_app import app

    application: Application = app
    return application


def hosts(port: int) -> list[str]:
    """Return the Host headers of requests that are meant for the server on `port`."""
    named = [f"{name}:{port}" for name in NAMES]
    return [*named, *NAMES] if port == HTTP_PORT else named


def guarded(application: Application, port: int) -> Application:
    """Put the checks of Host, Origin and path in front of an application on `port`."""
    allowed = {host.encode() for host in hosts(port)}
    origins = {b"http://" + host for host in allowed}

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        named = {value for name, value in headers if name == b"host"}
        if not named or not named <= allowed:
            await _refuse(send, 403, f"This server answers to http://{HOST}:{port} only.")
        elif not {value for name, value in headers if name == b"origin"} <= origins:
            await _refuse(send, 403, "This server answers to its own pages only.")
        elif ASSISTANT in scope["path"]:
            await _refuse(send, 404, "MLflow's assistant is off.")
        else:
            await application(scope, receive, send)

    return guard


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
