"""The command `vaebalance`, and the only place where arguments are parsed.

study       search weights and other knobs
curve       train all β at once
compare     show several runs side by side
port        translate weights between projects
ui          show MLflow's pages
completion  print a completion script for a shell
parser      parser class and number types of all commands

Each command is a module with `SUMMARY`, `configure`, `read` and `run`. Only `run` imports heavy
packages, so that `--help` and error messages appear without delay.
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
    """A module of this package that implements a command."""

    SUMMARY: str
    """One line for the help."""

    def configure(self, parser: Parser) -> None:
        """Add description and arguments to the command's parser."""

    def read(self, arguments: Namespace, parser: Parser) -> Any:
        """Check the arguments as a whole and return what `run` takes."""

    def run(self, options: Any, /) -> None:
        """Execute the command."""


COMMANDS: dict[str, Command] = {
    "study": study,
    "curve": curve,
    "compare": compare,
    "port": port,
    "ui": ui,
    "completion": completion,
}


def main(*command: str) -> None:
    """Run `vaebalance` with the arguments of this process; exit with 2 if they are wrong.

    Args:
        command: arguments to insert before them; a script for one command passes its name.
    """
    run_stage(lambda: run([*command, *sys.argv[1:]]))


def run(arguments: Sequence[str]) -> None:
    """Execute the command that the arguments name."""
    name, options = parse(arguments)
    COMMANDS[name].run(options)


def parse(arguments: Sequence[str]) -> tuple[str, Any]:
    """Parse the arguments and return the command's name and options.

    Raises:
        SystemExit: with 2 after one line that states the error, or with 0 after `--help`.
    """
    parsed = make_parser().parse_args(arguments)
    return parsed.command, COMMANDS[parsed.command].read(parsed, parsed.parser)


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
