"""The arguments of `vaebalance compare`."""

from pathlib import Path

import pytest

from vaebalance.cli import parse
from vaebalance.pages.comparison.options import OUT, Options


def parse_options(arguments: list[str]) -> Options:
    """Return the options for the arguments."""
    return parse(["compare", *arguments])[1]


def test_options():
    options = parse_options(["a", "b", "--out", "here"])
    assert (options.runs, options.out, options.list) == (("a", "b"), Path("here"), False)
    assert parse_options(["a", "b"]).out == OUT
    assert parse_options(["--list"]).list


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give two to 8 runs, not 0"),
        (["a"], "give two to 8 runs, not 1"),
        (["a"] * 9, "give two to 8 runs, not 9"),
        (["--list", "a"], "--list takes no run"),
    ],
)
def test_wrong_options_say_what_is_right(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        parse_options(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
