"""How a command ends, in processes of their own: whatever becomes of its output, and by signals."""

import os
import signal
import subprocess
import sys

import pytest

PRINTS = """
import sys
from pathlib import Path
from vaebalance.base.process import run_stage

def main():
    for line in range(20_000):  # more than a pipe or a buffer holds
        print("α = 1, β = 4")
    print("α on stderr", file=sys.stderr)
    Path(sys.argv[1]).touch()

run_stage(main)
"""

WAITS = """
import sys, time
from vaebalance.base.process import run_stage

def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:  # as a study does on Ctrl-C
        print("cleaning up", flush=True)
        time.sleep(0.5)
        print("clean", flush=True)
        raise

run_stage(main)
"""


def in_shell(tmp_path, command, **environment):
    """Return exit status and stderr of a shell line in which $RUN prints much, and if it did."""
    script, done = tmp_path / "prints.py", tmp_path / "done"
    script.write_text(PRINTS, encoding="utf-8")
    run = {"RUN": f"{sys.executable} {script} {done}"}
    shell = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, **run, **environment},
        capture_output=True,
        check=False,
    )
    return shell.returncode, shell.stderr.decode(), done.exists()


@pytest.mark.parametrize(
    "line", ["$RUN | true", "$RUN | head -1 >&2", "$RUN >&-", "$RUN 2>&1 | true", "$RUN >&- 2>&-"]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_ends_nothing(tmp_path, line, unbuffered):
    status, errors, is_done = in_shell(tmp_path, line, PYTHONUNBUFFERED=unbuffered)
    assert (status, is_done) == (0, True)
    assert "Traceback" not in errors
    assert "Error" not in errors


@pytest.mark.parametrize("line", ["$RUN >/dev/full", "$RUN >/dev/full 2>&1"])
def test_a_full_disk_is_told_once(tmp_path, line):
    status, errors, is_done = in_shell(tmp_path, line)
    assert (status, is_done) == (0, True)
    told = ["note: the output is lost: No space left on device", "α on stderr"]
    assert errors.splitlines() == ([] if "2>" in line else told)


@pytest.mark.parametrize(
    "setting",
    [
        {"PYTHONIOENCODING": "iso-8859-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_character_that_the_encoding_lacks_is_escaped(tmp_path, setting):
    status, errors, is_done = in_shell(tmp_path, "$RUN >out; head -1 out >&2; rm out", **setting)
    assert (status, is_done) == (0, True)
    assert errors.splitlines() == [r"\u03b1 on stderr", r"\u03b1 = 1, \u03b2 = 4"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_ctrl_c_does_and_its_repetition_does_not_disturb(number):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(number)
    said, errors = process.communicate(timeout=30)
    assert said == "clean\n"
    assert process.returncode == 128 + number
    assert errors == f"ended by {number.name}\n"


def test_nohup_is_heeded():
    process = subprocess.Popen(
        ["nohup", sys.executable, "-c", WAITS.replace("60", "1")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 0
