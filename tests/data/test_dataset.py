"""What later stages open."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset, DatasetInfo, DataSpec, open_dataset, prepare


@pytest.fixture
def copied(digits: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits.folder, tmp_path / "prepared"))


def test_images_are_mapped_and_not_read(digits: Dataset) -> None:
    images = digits.images("train")
    assert images.dtype == torch.uint8
    assert images.shape == (digits.info.splits["train"], 1, 8, 8)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(digits.folder / "train.images.npy") in maps.read_text()


def test_writing_to_a_view_leaves_the_file_alone(digits: Dataset) -> None:
    digits.images("test")[0] = 77
    assert (digits.images("test")[0] != 77).any()


def test_labels_belong_to_their_images(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    known = load_digits()
    label_of = {
        np.round(image * (255 / 16)).astype(np.uint8).tobytes(): label
        for image, label in zip(known.images, known.target, strict=True)
    }
    for split in digits.info.splits:
        labels = digits.labels(split)
        assert labels is not None
        expected = [label_of[image.numpy().tobytes()] for image in digits.images(split)]
        assert labels.tolist() == expected
    assert digits.factors("train") is None


def test_factors_belong_to_their_images(data_spec: Callable[..., DataSpec], tmp_path: Path) -> None:
    source = {"kind": "sprites", "size": 16, "positions": 4, "orientations": 3}
    prepare(data_spec(source), 0, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.info.factor_names is not None
    images, factors = dataset.images("train").float()[:, 0], dataset.factors("train")
    assert factors is not None
    assert factors.shape == (dataset.info.splits["train"], 5)
    centre = (images.sum(1) * torch.arange(16)).sum(1) / images.sum((1, 2))
    left, right = centre[factors[:, 3] == 0], centre[factors[:, 3] == 3]
    assert left.max() < 6 < 10 < right.min()
    labels = dataset.labels("train")
    assert labels is not None
    assert torch.equal(labels, factors[:, 0])


def test_info_survives_its_file(digits: Dataset) -> None:
    text = (digits.folder / "dataset.json").read_text(encoding="utf-8")
    assert DatasetInfo.from_json(json.loads(text)) == digits.info
    assert open_dataset(digits.folder).info == digits.info


def test_the_summary_counts(digits: Dataset) -> None:
    first = digits.info.summary().splitlines()[0]
    for split, count in digits.info.splits.items():
        assert f"{count:,} {split}" in first
    assert "8×8" in first


def test_an_unknown_split_is_refused(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="trian"):
        digits.images("trian")


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    path = folder / "train.images.npy"
    path.write_bytes(path.read_bytes()[:-10])


def other_images(folder: Path) -> None:
    shutil.copy(folder / "test.images.npy", folder / "train.images.npy")


def other_labels(folder: Path) -> None:
    shutil.copy(folder / "test.labels.npy", folder / "train.labels.npy")


def half_json(folder: Path) -> None:
    path = folder / "dataset.json"
    path.write_text(path.read_text()[:100])


def other_json(folder: Path) -> None:
    (folder / "dataset.json").write_text('{"name": "digits"}')


@pytest.mark.parametrize(
    "spoil",
    [
        shutil.rmtree,
        remove("dataset.json"),
        remove("validation.images.npy"),
        remove("test.labels.npy"),
        cut,
        other_images,
        other_labels,
        half_json,
        other_json,
    ],
)
def test_half_a_folder_says_how_to_make_it_whole(
    copied: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(copied)
    with pytest.raises(UserError, match="dvc repro prepare") as error:
        open_dataset(copied)
    assert str(copied) in str(error.value)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, vaebalance.data; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "torchvision", "sklearn", "PIL", "pyarrow"} & set(done.stdout.split())
