"""`vaebalance study`."""

from __future__ import annotations

import argparse

from vaebalance.cli.parser import Parser
from vaebalance.study.options import BEST, KNEE, Choice, Options

SUMMARY = "search the knobs that section `tune` of params.yaml names"


def configure(parser: Parser) -> None:
    """Add description and arguments."""
    parser.description = """\
Search the knobs that section `tune` of params.yaml names. The same command continues the study,
also after Ctrl-C or a kill; started twice, both share the work. With tune.method: curve, one
training of a curve answers instead."""
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="show the study's trials, run none")
    instead.add_argument(
        "--promote",
        type=_choice,
        metavar="best|knee|N",
        help="write the values of the best trial, of the frontier's knee, or of trial N, into "
        "params.yaml; run none. (A curve has no trials, but best and knee.)",
    )


def read(arguments: argparse.Namespace, parser: Parser) -> Options:
    """Return the options."""
    return Options(list=arguments.list, promote=arguments.promote)


def run(options: Options) -> None:
    """Run the study, list it, or promote one of its trials; or answer from a curve."""
    from vaebalance.settings import Settings, load

    if load(Settings).tune.method == "curve":
        from vaebalance.study.by_curve.ask import run as answer

        answer(options)
    else:
        from vaebalance.study.command import run as search

        search(options)


def _choice(text: str) -> Choice:
    if text == BEST:
        return BEST
    if text == KNEE:
        return KNEE
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither `best`, `knee`, nor a trial's number")
