"""All or nothing, also under SIGKILL."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vaebalance.base.files import replacing, write_csv, write_json, write_text

KILLED_WITHIN = """
import os, signal, sys
from pathlib import Path
from vaebalance.base.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.mkdir()
    (temporary / "half").write_text("x")
    if sys.argv[2] == "between":  # the two renames
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_and_kill(target: Path, moment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WITHIN, str(target), moment], capture_output=True, check=False
    )
    assert done.returncode == -9


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    return target


def test_a_folder_is_replaced_whole(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
        assert (target / "old").exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(target: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with replacing(target) as temporary:
            temporary.mkdir()
            raise error

    with pytest.raises(error):
        fail()
    assert (target / "old").read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_rename_puts_the_old_folder_back(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk gone"), replacing(target) as temporary:
        temporary.mkdir()
    assert (target / "old").read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL and process numbers are POSIX's")
class TestKilled:
    def test_scratch_of_a_dead_process_goes_at_the_next_start(self, target: Path) -> None:
        run_and_kill(target, "inside")
        assert len(list(target.parent.iterdir())) == 2
        assert (target / "old").exists()
        with replacing(target) as temporary:
            assert set(target.parent.iterdir()) == {target, temporary.parent}
            temporary.mkdir()
        assert list(target.parent.iterdir()) == [target]

    def test_between_the_renames_the_old_folder_comes_back(self, target: Path) -> None:
        run_and_kill(target, "between")
        assert not target.exists()
        with pytest.raises(RuntimeError), replacing(target):
            raise RuntimeError
        assert (target / "old").read_text() == "old"

    def test_scratch_of_others_stays(self, target: Path) -> None:
        with replacing(target) as alive:
            alive.mkdir()
            with replacing(target) as second:
                second.mkdir()
            assert alive.exists()
        run_and_kill(target, "inside")
        with replacing(target.parent / "other") as temporary:
            temporary.write_text("x")
        assert len(list(target.parent.iterdir())) == 3  # out, other, out's scratch


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"α": [1, 2.5]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"α": [1, 2.5]}
    with pytest.raises(ValueError):
        write_json(path, float("nan"))
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_table_has_unrounded_numbers_and_an_empty_cell_for_none(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.csv"
    rows = [(1, 0.1 + 0.2, None), (2, 1e-25, "α, or β")]
    write_csv(path, ["epoch", "rate", "note"], rows)
    text = '1,0.30000000000000004,\r\n2,1e-25,"α, or β"\r\n'
    assert path.read_bytes() == f"epoch,rate,note\r\n{text}".encode()
    write_csv(path, {"epoch": int}, [[3]], line_end="\n")
    assert path.read_bytes() == b"epoch\n3\n"
    assert list(path.parent.iterdir()) == [path]
