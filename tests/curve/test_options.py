"""The arguments, and how quick they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from vaebalance.curve.options import Options, parse_options

SCRIPT = Path(__file__).parents[2] / "pipelines" / "curve.py"


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
    assert parse_options(arguments) == options


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
        parse_options(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_mlflow():
    code = (
        "import runpy, sys; sys.argv = ['curve.py', '--help']\n"
        "try: runpy.run_path(sys.argv_script, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'mlflow'} & set(sys.modules)"
    ).replace("sys.argv_script", repr(str(SCRIPT)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--target-rate" in done.stdout
