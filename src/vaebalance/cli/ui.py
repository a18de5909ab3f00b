"""`vaebalance ui`."""

from __future__ import annotations

from argparse import Namespace

from vaebalance.cli.parser import Parser

SUMMARY = "serve MLflow's pages over this project's store"
PORT = "5000"


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = "MLflow's pages over this project's store, light and local."
    parser.add_argument("--port", default=PORT, help=f"port on this machine ({PORT})")


def read(arguments: Namespace, parser: Parser) -> str:
    """Return the port."""
    port: str = arguments.port
    return port


def run(port: str) -> None:
    """Serve until interrupted."""
    from vaebalance.tracking.ui import serve

    serve(port)
