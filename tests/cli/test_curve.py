"""The arguments of `vaebalance curve`."""

from pathlib import Path

import pytest

from vaebalance.cli import parse
from vaebalance.curve.options import Options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], Options()),
        (["--target-rate", "20"], Options(target=("rate", 20.0))),
        (["--target-psnr", "-1"], Options(target=("psnr", -1.0))),
        (["--promote", "knee"], Options(promote="knee")),
        (["--promote", "0.5"], Options(promote=0.5)),
        (["--distill", "best", "out"], Options(distill=("best", Path("out")))),
        (["--distill", "1e-1", "out"], Options(distill=(0.1, Path("out")))),
    ],
)
def test_arguments(arguments, options):
    assert parse(["curve", *arguments]) == ("curve", options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--promote", "worst"],
        ["--promote", "0"],
        ["--promote", "inf"],
        ["--target-rate", "nan"],
        ["--target-rate", "1", "--target-rmse", "1"],
        ["--distill", "knee"],
        ["--distill", "worst", "out"],
        ["x"],
    ],
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["curve", *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
