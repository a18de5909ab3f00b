"""The heartbeat of a study in a file."""

import os
import signal
import subprocess
import sys

from vaebalance.study.storage.file_storage import heartbeat, is_alive

STAY = """
import sys, time
from pathlib import Path
from vaebalance.study.storage.file_storage import heartbeat
with heartbeat(Path(sys.argv[1])) as name:
    print(name, flush=True)
    time.sleep(60)
"""


def test_present_within_the_block_and_not_after(tmp_path):
    with heartbeat(tmp_path / "locks") as name:
        assert is_alive(tmp_path / "locks", name)
        assert is_alive(tmp_path / "locks", name)
        with heartbeat(tmp_path / "locks") as other:
            assert other != name
    assert not is_alive(tmp_path / "locks", name)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_name_never_given_is_not_present(tmp_path):
    assert not is_alive(tmp_path, "someone")
    assert not is_alive(tmp_path, "")


def test_another_process_is_alive_until_killed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", STAY, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert is_alive(tmp_path, name)
    os.kill(process.pid, signal.SIGSTOP)  # a stopped process is alive
    assert is_alive(tmp_path, name)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / name).exists()
    assert not is_alive(tmp_path, name)
    assert not (tmp_path / name).exists()
