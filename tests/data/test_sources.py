"""Published arrays, whole and labelled."""

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from tests.helpers.mnist_files import write_mnist_like
from tests.helpers.odd_pictures import quarters
from vaebalance.base.errors import UserError
from vaebalance.data import (
    CIFAR10,
    KMNIST,
    MNIST,
    AbstractSource,
    Collection,
    Digits,
    FashionMNIST,
    ImageFolder,
    Sprites,
)


def collect(source: AbstractSource, root: Path) -> Collection:
    return source.collect(root, max_pixels=10**8, workers=1)


def images_of(collection: Collection) -> np.ndarray:
    positions = np.arange(len(collection.paths))
    return np.concatenate([batch.images for batch in collection.read(positions)])


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    collection = collect(Digits(), tmp_path / "not used")
    images = images_of(collection)
    assert images.shape == (1797, *collection.image_shape)
    np.testing.assert_allclose(images[:, 0] / 255 * 16, load_digits().images, atol=0.04)
    np.testing.assert_array_equal(collection.labels, load_digits().target)
    assert collection.published_test is None


@pytest.mark.parametrize("source", [MNIST(), FashionMNIST(), KMNIST()])
def test_the_mnist_family_is_read_from_its_files(source: AbstractSource, tmp_path: Path) -> None:
    images, labels = write_mnist_like(tmp_path, type(source).__name__)
    collection = collect(source, tmp_path)
    np.testing.assert_array_equal(images_of(collection)[:, 0], images)
    np.testing.assert_array_equal(collection.labels, labels)
    assert collection.published_test is not None
    assert collection.published_test.tolist() == [False, False, True]
    assert collection.paths == ["train/00000", "train/00001", "test/00000"]
    assert collection.label_names is not None
    assert len(collection.label_names) == 10
    assert collection.name == source.kind  # type: ignore[attr-defined]


def test_cifar_is_read_channels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    planes = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"class {i}" for i in range(10)]
    for name, content in (
        ("train", {"data": planes[:1].reshape(1, -1), "labels": [5]}),
        ("test", {"data": planes[1:].reshape(1, -1), "labels": [6]}),
        ("batches.meta", {"label_names": names}),
    ):
        (folder / name).write_bytes(pickle.dumps(content))
    sums = {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test", sums["test"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    collection = collect(CIFAR10(), tmp_path)
    np.testing.assert_array_equal(images_of(collection), planes)
    assert collection.image_shape == (3, 32, 32)
    assert collection.labels.tolist() == [5, 6]
    assert collection.label_names == tuple(names)


@pytest.mark.parametrize("source", [MNIST(), CIFAR10()])
def test_a_failed_download_names_the_remedy(
    source: AbstractSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(UserError, match="Name or service not known") as error:
        collect(source, tmp_path / "empty")
    assert f"data.root = {str(tmp_path / 'empty')!r}" in str(error.value)


def test_a_cut_file_is_an_error_that_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist_like(tmp_path, "MNIST")
    cut = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    cut.write_bytes(cut.read_bytes()[:900])
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("no need"))
    with pytest.raises(UserError, match="delete its files"):
        collect(MNIST(), tmp_path)


def test_mnist_is_mnist(mnist_root: Path) -> None:
    collection = collect(MNIST(), mnist_root)
    images = images_of(collection)
    training = images[:60_000] / np.float32(255)
    assert collection.label_names == tuple("0123456789")
    assert images.shape == (70_000, 1, 28, 28)
    np.testing.assert_allclose(training.mean(dtype=np.float64), 0.13066, atol=1e-5)
    np.testing.assert_allclose(training.std(dtype=np.float64), 0.30811, atol=1e-5)
    assert np.bincount(collection.labels[:60_000]).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip


@pytest.mark.parametrize("source", [Digits(), Sprites(size=16, positions=3), ImageFolder(size=8)])
def test_every_source_reads_any_positions_in_their_order(
    source: AbstractSource, tmp_path: Path
) -> None:
    for side in (8, 9, 10, 11):
        quarters(side).save(tmp_path / f"{side}.png")
    collection = collect(source, tmp_path)
    everything = images_of(collection)
    count = len(collection.paths)
    assert everything.shape == (count, *collection.image_shape)
    assert everything.dtype == np.uint8
    positions = np.random.default_rng(0).permutation(count)[: count // 2]
    batches = list(collection.read(positions))
    np.testing.assert_array_equal(
        np.concatenate([batch.images for batch in batches]), everything[positions]
    )
    assert all(len(b.images) == len(b.sizes) == len(b.reasons) for b in batches)
    assert list(collection.read(positions[:0])) == []
