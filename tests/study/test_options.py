"""The arguments, and how quick they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from vaebalance.study.options import Options, parse_options

SCRIPT = Path(__file__).parents[2] / "pipelines" / "tune.py"


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
    assert parse_options(arguments) == options


@pytest.mark.parametrize(
    "arguments", [["--promote", "worst"], ["--promote", "-1"], ["--list", "--promote", "1"], ["x"]]
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_options(arguments)
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_waits_for_no_heavy_import():
    code = f"""
import runpy, sys
sys.argv = ["tune.py", "--help"]
try:
    runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
finally:
    heavy = {{"torch", "optuna", "mlflow", "pydantic", "rich"}} & set(sys.modules)
    print("heavy:", sorted(heavy))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--promote best|knee|N" in shown.stdout
    assert "heavy: []" in shown.stdout
