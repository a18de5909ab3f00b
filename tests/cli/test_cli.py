"""The whole command: speed, one-line errors, and its older spellings."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from vaebalance import cli
from vaebalance.cli.completion import SHELLS

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ROOT / "pipelines"
HEAVY = {"torch", "mlflow", "optuna", "pydantic", "rich", "numpy", "shtab"}
SPELLINGS = {
    "study": [str(PIPELINES / "tune.py")],
    "curve": [str(PIPELINES / "curve.py")],
    "compare": [str(PIPELINES / "compare.py")],
    "port": [str(PIPELINES / "port.py")],
}
"""Each command by its script, as before `vaebalance` existed."""
HELP_SECONDS = 0.3


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the tested package."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_is_listed_with_its_summary():
    shown = " ".join(python("-m", "vaebalance.cli", "--help").stdout.split())
    for name, command in cli.COMMANDS.items():
        assert f"{name} {command.SUMMARY}" in shown


@pytest.mark.parametrize("command", [None, *cli.COMMANDS])
def test_help_waits_for_no_heavy_import(command):
    arguments = [*([command] if command else []), "--help"]
    code = (
        "import sys\nfrom vaebalance.cli import main\n"
        f"sys.argv = ['vaebalance', *{arguments!r}]\n"
        "try: main()\n"
        "finally: print('heavy:', sorted(set(sys.modules) & set(sys.orig_argv[-1].split())))"
    )
    done = python("-c", code, " ".join(HEAVY))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {' '.join(['vaebalance', *arguments[:-1]])}")
    assert "heavy: []" in done.stdout


def test_help_is_quick():
    """Measure CPU time, which a busy machine hardly changes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert python("-m", "vaebalance.cli", "--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < HELP_SECONDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["tune"], "invalid choice: 'tune'"),
        (["study", "--lst"], "unrecognized arguments: --lst"),
        (["ui", "--port", "many"], "--port many: must be a whole number from 1 to 65535"),
        (["completion", "cmd"], "invalid choice: 'cmd'"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments, message):
    done = python("-m", "vaebalance.cli", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("command", SPELLINGS)
def test_an_older_spelling_has_the_same_options(command):
    expected = python("-m", "vaebalance.cli", command, "--help")
    done = python(*SPELLINGS[command], "--help")
    assert (done.returncode, done.stdout) == (0, expected.stdout)
    wrong = python(*SPELLINGS[command], "--wrong")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)


def test_a_command_runs_with_its_options(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["vaebalance", "--list"])
    cli.main("port")
    assert "antixk" in capsys.readouterr().out


def test_an_error_that_a_person_can_mend_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["vaebalance", "study"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "params.yaml: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_and_options(shell):
    script = python("-m", "vaebalance.cli", "completion", shell).stdout
    for word in (*cli.COMMANDS, "promote", "distill", "target-rate", "port"):
        assert word in script


def test_bash_completes():
    script = python("-m", "vaebalance.cli", "completion", "bash").stdout
    typed = "COMP_WORDS=(vaebalance st); COMP_CWORD=1; _shtab_vaebalance; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{typed}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["study"]
