"""`vaebalance ui`."""

from __future__ import annotations

from argparse import Namespace

from vaebalance.cli.parser import Parser

SUMMARY = "serve MLflow's pages over this project's store"
PORT = 5000


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = "MLflow's pages over this project's store, light and local."
    parser.add_argument("--port", type=int, default=PORT, help=f"port on this machine ({PORT})")


def read(arguments: Namespace, parser: Parser) -> int:
    """Return the port."""
    port: int = arguments.port
    return port


def run(port: int) -> None:
    """Replace this process by the server."""
    from vaebalance.tracking.__main__ import serve

    serve(port)
