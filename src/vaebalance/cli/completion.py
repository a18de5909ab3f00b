"""`vaebalance completion`."""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

from vaebalance.cli.parser import Parser

SUMMARY = "print a completion script for a shell"
SHELLS = ("bash", "zsh", "fish")


class Options(NamedTuple):
    """Options of the command."""

    shell: str
    whole: Parser
    """The parser of all commands."""


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = """\
Print a script with which a shell completes commands and options. To have it in every shell:

  vaebalance completion bash > ~/.local/share/bash-completion/completions/vaebalance
  vaebalance completion zsh > DIRECTORY/_vaebalance        # a directory of $fpath
  vaebalance completion fish > ~/.config/fish/completions/vaebalance.fish
"""
    parser.add_argument("shell", choices=SHELLS)


def read(arguments: Namespace, parser: Parser) -> Options:
    """Return the options."""
    return Options(arguments.shell, arguments.whole)


def run(options: Options) -> None:
    """Print the script."""
    import shtab

    print(shtab.complete(options.whole, options.shell))
