"""Finding a person's pictures, and reading them on all cores."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.odd_pictures import MAX_PIXELS, SIDE, OddPictures, quarters, write_odd_pictures
from vaebalance.base.errors import UserError
from vaebalance.data import Collection, ImageFolder
from vaebalance.data.folder import WORTH_A_POOL, list_pictures, printable


def collect(root: Path, workers: int = 1, size: int = SIDE) -> Collection:
    return ImageFolder(size=size).collect(root, max_pixels=MAX_PIXELS, workers=workers)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> OddPictures:
    return write_odd_pictures(tmp_path_factory.mktemp("odd"))


def test_pictures_are_found_once_each_and_the_rest_is_counted(odd: OddPictures) -> None:
    files, ignored = list_pictures(odd.root)
    assert files == sorted([*odd.good, *odd.set_aside], key=os.fsencode)
    assert ignored == odd.ignored


def test_labels_are_the_first_folders(odd: OddPictures) -> None:
    collection = collect(odd.root)
    assert collection.label_names == (
        "bad", "clear", "deep", "fill", "frames", "modes", "names", "sizes", "turned"
    )  # fmt: skip
    for path, label in zip(collection.paths, collection.labels, strict=True):
        first = collection.label_names[label] if label >= 0 else "at the top.png"
        assert path.split("/")[0] == first


def test_no_folders_no_labels(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    collection = collect(tmp_path)
    assert collection.label_names is None
    assert collection.labels.tolist() == [-1]


def test_names_are_printable_and_told_apart(odd: OddPictures) -> None:
    paths = collect(odd.root).paths
    assert len(set(paths)) == len(paths)
    assert all(path.isprintable() and path.encode() for path in paths)
    assert {
        "names/ünïcödé 图片 🙂.png",
        "names/new\\nline.png",
        "names/not utf-8 \\xff\\xfe.png",
    } <= {*paths}
    assert printable("a\u202eb") == "a\\u202eb"


def test_a_pool_reads_what_one_process_reads(
    odd: OddPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaebalance.data.folder.WORTH_A_POOL", 0)
    positions = np.random.default_rng(0).permutation(200)
    alone, together = (list(collect(odd.root, w).read(positions)) for w in (1, 2))
    for field in ("images", "sizes", "reasons"):
        one, two = (np.concatenate([getattr(b, field) for b in batches])
                    for batches in (alone, together))  # fmt: skip
        np.testing.assert_array_equal(one, two)
    assert sum(len(batch.reasons) for batch in alone) == 200
    assert WORTH_A_POOL > 0


def test_links_to_outside_are_followed_and_loops_end(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "z").mkdir(parents=True)
    outside.mkdir()
    quarters().save(outside / "a.png")
    quarters().save(inside / "z" / "b.png")
    (outside / "back").symlink_to(inside, target_is_directory=True)
    (inside / "a").symlink_to(outside, target_is_directory=True)
    (inside / "m").symlink_to(inside / "z", target_is_directory=True)
    (inside / "self").symlink_to("self")
    (inside / "self.png").symlink_to("self.png")
    assert list_pictures(inside)[0] == ["a/a.png", "self.png", "z/b.png"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may open everything")
def test_a_locked_folder_is_counted(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    (tmp_path / "locked").mkdir(mode=0)
    assert list_pictures(tmp_path)[1] == {"folders that cannot be opened": 1}


def write_nothing(root: Path) -> None:
    root.mkdir()


def write_text_only(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("x")


def write_file(root: Path) -> None:
    root.write_text("x")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "no such folder"),
        (write_file, "not a folder"),
        (write_nothing, "found: nothing"),
        (write_text_only, "found: 1 .txt"),
    ],
)
def test_no_pictures_is_an_error_that_says_what_is_there(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    root = tmp_path / "mine"
    make(root)
    with pytest.raises(UserError, match=said) as error:
        collect(root)
    assert "data.root" in str(error.value)
    assert str(root) in str(error.value)


def test_memory_that_runs_out_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    quarters().save(tmp_path / "a.png")
    monkeypatch.setattr("vaebalance.data.folder.read_picture", fail)
    with pytest.raises(UserError, match=r"data\.max_pixels"):
        list(collect(tmp_path).read(np.arange(1)))
