"""The arguments of `vaebalance study`."""

import pytest

from vaebalance.cli import parse
from vaebalance.study.options import Options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], Options(list=False, promote=None)),
        (["--list"], Options(list=True, promote=None)),
        (["--promote", "best"], Options(list=False, promote="best")),
        (["--promote", "knee"], Options(list=False, promote="knee")),
        (["--promote", "7"], Options(list=False, promote=7)),
    ],
)
def test_arguments(arguments, options):
    assert parse(["study", *arguments]) == ("study", options)


@pytest.mark.parametrize(
    "arguments", [["--promote", "worst"], ["--promote", "-1"], ["--list", "--promote", "1"], ["x"]]
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(["study", *arguments])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "--help`" in line
