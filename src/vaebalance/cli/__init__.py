"""The command `vaebalance`: all reading of arguments.

study       search weights and other knobs
curve       all β from one training
compare     several runs side by side
port        a weight of another project, and back
ui          MLflow's pages
completion  a completion script for a shell
parser      what the commands' parsers share

Each command is a module with `SUMMARY`, `configure`, `read` and `run`. What is heavy is imported in
`run`, so that `--help` and a complaint come at once.
"""

from __future__ import annotations

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, Protocol

from vaebalance.base.process import run_stage
from vaebalance.cli import compare, completion, curve, port, study, ui
from vaebalance.cli.parser import Parser


class Command(Protocol):
    """A module of this package: one command."""

    SUMMARY: str
    """One line of the help."""

    def configure(self, parser: Parser) -> None:
        """Add description and arguments to the command's parser."""

    def read(self, arguments: Namespace, parser: Parser) -> Any:
        """Check the arguments as a whole and return what `run` takes."""

    def run(self, options: Any, /) -> None:
        """Do what was asked for."""


COMMANDS: dict[str, Command] = {
    "study": study,
    "curve": curve,
    "compare": compare,
    "port": port,
    "ui": ui,
    "completion": completion,
}


def main(*command: str) -> None:
    """Run `vaebalance COMMAND` with the arguments of this process; exit with 2 if they are wrong.

    Args:
        command: what goes before them; a script that is one command gives its name.
    """
    run_stage(lambda: run([*command, *sys.argv[1:]]))


def run(arguments: Sequence[str]) -> None:
    """Do what the arguments say."""
    name, options = parse(arguments)
    COMMANDS[name].run(options)


def parse(arguments: Sequence[str]) -> tuple[str, Any]:
    """Read the arguments; return the command's name and options.

    Raises:
        SystemExit: with 2 after one line that says what is wrong, or with 0 after `--help`.
    """
    found = make_parser().parse_args(arguments)
    return found.command, COMMANDS[found.command].read(found, found.parser)


def make_parser() -> Parser:
    """Build the parser of all commands."""
    whole = Parser(
        prog="vaebalance",
        description="How much should reconstruction weigh against the KL term of a VAE?",
        epilog="The pipeline itself is run by DVC: `dvc repro`.",
    )
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        parser = commands.add_parser(
            name, help=command.SUMMARY, formatter_class=RawDescriptionHelpFormatter
        )
        command.configure(parser)
        parser.set_defaults(parser=parser, whole=whole)
    return whole
