"""The whole stage: same input, same bytes; all or nothing; nothing lost without a word."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from tests.helpers.mnist_files import write_mnist_like
from tests.helpers.odd_pictures import COUNT, OddPictures, write_odd_pictures
from vaebalance.base.errors import UserError
from vaebalance.data import DatasetInfo, DataSpec, open_dataset, preparation, prepare
from vaebalance.data.folder import list_pictures

MakeSpec = Callable[..., DataSpec]
SPRITES = {"kind": "sprites", "size": 16, "positions": 4}


def contents(folder: Path) -> dict[str, str]:
    """Digest of each file."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def write_noise(root: Path, count: int, first: int = 0) -> None:
    """Distinct pictures of 8x8, in two folders."""
    for index in range(first, first + count):
        folder = root / f"class {index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index}.png")


@pytest.fixture
def folder_spec(data_spec: MakeSpec, tmp_path: Path) -> MakeSpec:
    """Make the spec of an image folder of 8x8 at `tmp_path / "raw"`."""

    def make(**changes: object) -> DataSpec:
        source = {"kind": "image_folder", "size": 8} | changes.pop("source", {})
        return data_spec(source, root=str(tmp_path / "raw"), **changes)

    return make


@pytest.fixture
def placed(tmp_path: Path) -> Callable[[Path], dict[str, str]]:
    """Return the split of each picture, by path."""

    def read(folder: Path) -> dict[str, str]:
        manifest = pd.read_parquet(folder / "manifest.parquet")
        return dict(zip(manifest["path"], manifest["split"], strict=True))

    return read


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> OddPictures:
    return write_odd_pictures(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def prepared(
    odd: OddPictures, data_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DatasetInfo, Path]:
    folder = tmp_path_factory.mktemp("prepared") / "out"
    source = {"kind": "image_folder", "size": 16}
    spec = data_spec(source, root=str(odd.root), max_bad_fraction=0.3)
    return prepare(spec, 0, folder), folder


class TestOddPictures:
    def test_counts(self, odd: OddPictures, prepared: tuple[DatasetInfo, Path]) -> None:
        info, _ = prepared
        assert sum(info.splits.values()) == len(odd.good)
        assert info.set_aside == odd.reasons
        assert info.ignored == odd.ignored
        summary = info.summary()
        for reason, count in odd.reasons.items():
            assert f"{count} {reason}" in summary

    def test_manifest(self, odd: OddPictures, prepared: tuple[DatasetInfo, Path]) -> None:
        info, folder = prepared
        manifest = pd.read_parquet(folder / "manifest.parquet")
        assert list(manifest.columns) == [
            "path", "split", "label", "width", "height", "digest", "row", "reason"
        ]  # fmt: skip
        assert len(manifest) == COUNT
        assert manifest["path"].is_unique
        aside = manifest[manifest["split"] == "set aside"]
        assert len(aside) == len(odd.set_aside)
        assert aside["reason"].notna().all()
        assert aside["row"].isna().all()
        good = manifest[manifest["split"] != "set aside"]
        assert good["reason"].isna().all()
        assert good["digest"].str.len().eq(64).all()
        assert (good.groupby("digest")["split"].nunique() == 1).all()
        assert info.duplicates == good["digest"].duplicated().sum() > 50
        large = manifest[manifest["path"] == "sizes/large.png"].iloc[0]
        assert (large["width"], large["height"]) == (1600, 1600)
        assert info.label_names is not None
        assert info.label_names[large["label"]] == "sizes"

    def test_rows_point_at_the_pixels(
        self, odd: OddPictures, prepared: tuple[DatasetInfo, Path]
    ) -> None:
        dataset = open_dataset(prepared[1])
        manifest = pd.read_parquet(prepared[1] / "manifest.parquet")
        for entry in manifest[manifest["split"] != "set aside"].itertuples():
            image = dataset.images(entry.split)[entry.row].numpy()
            assert hashlib.sha256(image.tobytes()).hexdigest() == entry.digest
            labels = dataset.labels(entry.split)
            assert labels is not None
            assert labels[entry.row] == entry.label
            if entry.path in odd.pixels:
                expected, tolerance = odd.pixels[entry.path]
                assert np.abs(image.astype(int) - expected).max() <= tolerance


class TestSameBytes:
    @pytest.mark.parametrize("binarisation", ["none", "threshold", "static", "dynamic"])
    def test_again(self, data_spec: MakeSpec, tmp_path: Path, binarisation: str) -> None:
        spec = data_spec(SPRITES, binarisation=binarisation)
        assert prepare(spec, 7, tmp_path / "a") == prepare(spec, 7, tmp_path / "b")
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_whatever_the_order_of_the_folder_and_the_workers(
        self, folder_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_noise(tmp_path / "raw", 40)
        shutil.copy(tmp_path / "raw" / "class 0" / "0.png", tmp_path / "raw" / "class 1" / "c.png")
        prepare(folder_spec(), 0, tmp_path / "a")
        scandir = os.scandir
        with monkeypatch.context() as patch:
            patch.setattr("os.scandir", lambda path: reversed(list(scandir(path))))
            backwards = list_pictures(tmp_path / "raw")
        assert backwards == list_pictures(tmp_path / "raw")
        monkeypatch.setattr("vaebalance.data.folder.WORTH_A_POOL", 0)
        prepare(folder_spec(workers=2), 0, tmp_path / "b")
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_chunks_do_not_show(
        self, data_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = data_spec(SPRITES, binarisation="static")
        prepare(spec, 0, tmp_path / "a")
        monkeypatch.setattr("vaebalance.data.collection.CHUNK_BYTES", 1000)
        prepare(spec, 0, tmp_path / "b")
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_content_binarisation_and_seed_change_the_digest(
        self, data_spec: MakeSpec, tmp_path: Path
    ) -> None:
        specs = [
            (data_spec(SPRITES), 0),
            (data_spec(SPRITES), 1),
            (data_spec(SPRITES, binarisation="dynamic"), 0),
            (data_spec(SPRITES, binarisation="threshold"), 0),
            (data_spec(SPRITES | {"orientations": 7}), 0),
            (data_spec(SPRITES, test_fraction=0.3), 0),
        ]
        digests = {prepare(spec, seed, tmp_path / "a").digest for spec, seed in specs}
        assert len(digests) == len(specs)


class TestSplits:
    def test_adding_pictures_moves_no_other(
        self, folder_spec: MakeSpec, tmp_path: Path, placed: Callable[[Path], dict[str, str]]
    ) -> None:
        spec = folder_spec(binarisation="static")
        write_noise(tmp_path / "raw", 60)
        prepare(spec, 0, tmp_path / "a")
        write_noise(tmp_path / "raw", 30, first=100)
        prepare(spec, 0, tmp_path / "b")
        before, after = placed(tmp_path / "a"), placed(tmp_path / "b")
        assert len(after) == 90
        assert {path: after[path] for path in before} == before
        # Nor does it change what is drawn for them.
        old, new = (set(map(bytes, open_dataset(tmp_path / name).images("train").numpy()))
                    for name in "ab")  # fmt: skip
        assert old < new

    def test_copies_share_a_split_whatever_their_names_and_formats(
        self, folder_spec: MakeSpec, tmp_path: Path
    ) -> None:
        raw = tmp_path / "raw"
        write_noise(raw, 40)
        for path in sorted(raw.rglob("*.png")):
            Image.open(path).save(raw / f"{path.stem} copy.bmp")
        info = prepare(folder_spec(), 0, tmp_path / "out")
        manifest = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
        assert info.duplicates == 40
        assert (manifest.groupby("digest")["split"].nunique() == 1).all()
        assert (manifest.groupby("digest").size() == 2).all()

    def test_training_copies_of_published_test_images_are_set_aside(
        self, data_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images, _ = write_mnist_like(tmp_path, "MNIST")
        same = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
        same.write_bytes(same.read_bytes()[:16] + images[0].tobytes())
        spec = data_spec({"kind": "mnist"}, root=str(tmp_path), validation_fraction=0.0)
        info = prepare(spec, 0, tmp_path / "out")
        assert info.splits == {"train": 1, "validation": 0, "test": 1}
        assert info.set_aside == {preparation.TEST_DUPLICATE: 1}
        dataset = open_dataset(tmp_path / "out")
        np.testing.assert_array_equal(dataset.images("test")[0, 0], images[0])
        np.testing.assert_array_equal(dataset.images("train")[0, 0], images[1])
        assert dataset.images("validation").shape == (0, 1, 28, 28)

    def test_max_images(self, data_spec: MakeSpec, tmp_path: Path) -> None:
        info = prepare(data_spec(SPRITES, max_images=100), 0, tmp_path / "a")
        assert sum(info.splits.values()) == 100
        other = prepare(data_spec(SPRITES, max_images=100), 1, tmp_path / "b")
        assert other.digest != info.digest


class TestStatistics:
    @pytest.mark.parametrize("binarisation", ["none", "static"])
    def test_are_those_of_the_stored_training_images(
        self, data_spec: MakeSpec, tmp_path: Path, binarisation: str
    ) -> None:
        info = prepare(data_spec(SPRITES, binarisation=binarisation), 0, tmp_path / "a")
        x = open_dataset(tmp_path / "a").images("train").numpy().astype(np.float64) / 255
        mean = x.mean(0)
        np.testing.assert_allclose(info.pixel_mean, x.mean((0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(info.pixel_std, x.std((0, 2, 3)), rtol=1e-12)
        expected = ((x - mean) ** 2).sum((1, 2, 3)).mean()
        np.testing.assert_allclose(info.squared_error_of_mean, expected, rtol=1e-12)
        p = mean[(mean > 0) & (mean < 1)]
        entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
        np.testing.assert_allclose(info.bernoulli_distortion_of_mean, entropy, rtol=1e-12)
        assert info.constant_pixels == (x == x[0]).all(0).sum()

    def test_of_colours_are_per_channel(self, folder_spec: MakeSpec, tmp_path: Path) -> None:
        (tmp_path / "raw").mkdir()
        for level in (0, 51):
            Image.new("RGB", (8, 8), (level, 102, 255 - level)).save(
                tmp_path / "raw" / f"{level}.png"
            )
        spec = folder_spec(validation_fraction=0.0, test_fraction=0.0)
        info = prepare(spec, 0, tmp_path / "a")
        np.testing.assert_allclose(info.pixel_mean, [0.1, 0.4, 0.9], atol=1e-12)
        np.testing.assert_allclose(info.pixel_std, [0.1, 0, 0.1], atol=1e-12)
        assert info.constant_pixels == 64
        assert info.label_names is None
        assert open_dataset(tmp_path / "a").labels("train") is None

    def test_of_dynamic_binarisation_are_expectations(
        self, data_spec: MakeSpec, tmp_path: Path
    ) -> None:
        info = prepare(data_spec(SPRITES, binarisation="dynamic"), 0, tmp_path / "a")
        p = open_dataset(tmp_path / "a").images("train").numpy().mean(0) / 255
        np.testing.assert_allclose(info.squared_error_of_mean, (p * (1 - p)).sum(), rtol=1e-9)
        mean = info.pixel_mean[0]
        np.testing.assert_allclose(info.pixel_std[0], math.sqrt(mean * (1 - mean)), rtol=1e-9)


class TestRefusals:
    """Each leaves what was there before as it was."""

    def refuse(self, spec: DataSpec, destination: Path, *said: str) -> None:
        destination.mkdir()
        (destination / "old").write_text("old")
        with pytest.raises(UserError) as error:
            prepare(spec, 0, destination)
        for words in said:
            assert words in str(error.value)
        assert (destination / "old").read_text() == "old"
        assert [path.name for path in destination.parent.glob(f".{destination.name}*")] == []

    def test_too_many_bad(self, folder_spec: MakeSpec, tmp_path: Path) -> None:
        write_noise(tmp_path / "raw", 40)
        for index in range(5):
            (tmp_path / "raw" / f"{index}.png").write_bytes(b"")
        (tmp_path / "raw" / "x.png").write_bytes(b"no picture")
        said = (
            "6 of 46",
            "5 empty file",
            "1 not a picture",
            "13.0%",
            "data.max_bad_fraction = 0.1",
        )
        self.refuse(folder_spec(), tmp_path / "out", *said)
        info = prepare(folder_spec(max_bad_fraction=0.14), 0, tmp_path / "fine")
        assert sum(info.set_aside.values()) == 6

    def test_none_left(self, folder_spec: MakeSpec, tmp_path: Path) -> None:
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / "a.png").write_bytes(b"")
        self.refuse(
            folder_spec(max_bad_fraction=1.0), tmp_path / "out", "No picture is left", "a.png"
        )

    @pytest.mark.parametrize(
        ("fractions", "said"),
        [
            ({"validation_fraction": 0.01}, ("validation split", "data.validation_fraction")),
            ({"test_fraction": 0.01}, ("test split", "data.test_fraction")),
            (
                {"validation_fraction": 0.49, "test_fraction": 0.5},
                ("train split", "lower data.validation_fraction"),
            ),
        ],
    )
    def test_an_empty_split(
        self,
        folder_spec: MakeSpec,
        tmp_path: Path,
        fractions: dict[str, float],
        said: tuple[str, ...],
    ) -> None:
        write_noise(tmp_path / "raw", 3)
        ordinary = {"validation_fraction": 0.0, "test_fraction": 0.0}
        self.refuse(folder_spec(**(ordinary | fractions)), tmp_path / "out", *said)

    def test_a_missing_folder(self, folder_spec: MakeSpec, tmp_path: Path) -> None:
        self.refuse(folder_spec(), tmp_path / "out", "no such folder", "data.root")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_full_disk(
        self, data_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        full = lambda **_: open("/dev/full", "wb")  # noqa: E731, SIM115, PTH123
        monkeypatch.setattr("tempfile.TemporaryFile", full)
        self.refuse(data_spec(SPRITES), tmp_path / "out", "no space left", "data.max_images")


KILLED = """
import json, os, signal, sys
from pathlib import Path
from vaebalance.data import DataSpec, preparation, prepare
spec, destination, moment = sys.argv[1:]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment:
    setattr(preparation, moment, die)
prepare(DataSpec.model_validate_json(spec), 0, Path(destination))
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
class TestKilled:
    def start(self, spec: DataSpec, destination: Path, moment: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", KILLED, spec.model_dump_json(), str(destination), moment]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    @pytest.mark.parametrize("moment", ["_place", "_write_manifest"])
    def test_the_next_run_makes_what_it_would_have_made(
        self, data_spec: MakeSpec, tmp_path: Path, moment: str
    ) -> None:
        spec = data_spec(SPRITES)
        prepare(spec, 0, tmp_path / "never killed")
        folder = tmp_path / "killed"
        folder.mkdir()
        out = folder / "out"
        assert self.start(spec, out, moment).wait() == -signal.SIGKILL
        assert not out.exists()
        assert len(list(folder.iterdir())) == 1  # its scratch folder
        prepare(spec, 0, out)
        assert contents(out) == contents(tmp_path / "never killed")
        assert list(folder.iterdir()) == [out]

    @pytest.fixture
    def slow_spec(self, folder_spec: MakeSpec, tmp_path: Path) -> DataSpec:
        """Enough pictures to be caught in the middle of them."""
        raw = tmp_path / "raw"
        raw.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
        Image.fromarray(noise).save(raw / "0.png")
        for index in range(1, 2000):
            (raw / f"{index}.png").symlink_to("0.png")
        return folder_spec(validation_fraction=0.0, test_fraction=0.0, workers=2)

    def wait_for_workers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """Return the processes that decode, once they do."""
        for _ in range(600):
            assert process.poll() is None
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children()
                workers = [w for child in children for w in child.children()]
                if len(workers) == 2 and all(w.cpu_times().user > 0.3 for w in workers):
                    return workers
            time.sleep(0.05)
        return pytest.fail("no workers")

    def test_in_the_middle_of_decoding(self, slow_spec: DataSpec, tmp_path: Path) -> None:
        out = tmp_path / "killed" / "out"
        process = self.start(slow_spec, out)
        workers = self.wait_for_workers(process)
        process.kill()
        process.communicate()
        assert not out.exists()
        assert psutil.wait_procs(workers, timeout=20)[1] == []

    def test_a_killed_worker_ends_the_stage_with_an_error(
        self, slow_spec: DataSpec, tmp_path: Path
    ) -> None:
        out = tmp_path / "killed" / "out"
        process = self.start(slow_spec, out)
        self.wait_for_workers(process)[0].kill()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "data.workers" in said
        assert list(out.parent.iterdir()) == []


def test_memory_does_not_grow_with_the_data(data_spec: MakeSpec, tmp_path: Path) -> None:
    source = {"kind": "sprites", "size": 64, "scales": 2, "orientations": 8, "positions": 20}
    spec = data_spec(source, binarisation="threshold")
    tracemalloc.start()
    info = prepare(spec, 0, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = sum(info.splits.values()) * math.prod(info.image_shape)
    assert size > 75e6
    assert peak < 40e6


def test_mnist_keeps_its_test_set(data_spec: MakeSpec, mnist_root: Path, tmp_path: Path) -> None:
    info = prepare(data_spec({"kind": "mnist"}, root=str(mnist_root)), 0, tmp_path / "out")
    assert info.splits["test"] == 10_000
    assert info.splits["train"] + info.splits["validation"] == 60_000
    assert abs(info.splits["validation"] - 6000) < 4 * math.sqrt(60_000 * 0.1 * 0.9)
    # Known: 205.87 nats for the decoder that ignores its code, on other splits of it.
    assert info.bernoulli_distortion_of_mean == pytest.approx(205.87, abs=0.5)
    assert info.duplicates == 0
    labels = open_dataset(tmp_path / "out").labels("test")
    assert labels is not None
    assert labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
def test_a_bar_is_shown_on_a_terminal_only(
    data_spec: MakeSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import fcntl
    import pty
    import struct
    import termios

    prepare(data_spec(SPRITES), 0, tmp_path / "out")
    assert capfd.readouterr().err == ""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    spec = data_spec(SPRITES).model_dump_json()
    command = [sys.executable, "-c", KILLED, spec, str(tmp_path / "out"), ""]
    subprocess.run(command, stderr=child, check=True)
    os.close(child)
    assert b"100%" in os.read(parent, 100_000)
    os.close(parent)
