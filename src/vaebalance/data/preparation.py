"""The stage `prepare`: a source -> tensors, a manifest and statistics, all or nothing.

Pictures pass through a spool file on disk in chunks, so memory use does not grow with the source.
The result depends only on the content and the seed, to the last byte.
"""

from __future__ import annotations

import errno
import hashlib
import math
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing, write_json
from vaebalance.data.binarisation import Binarisation, binarise
from vaebalance.data.collection import Collection, chunks
from vaebalance.data.data_spec import DataSpec
from vaebalance.data.dataset import INFO, MANIFEST, DatasetInfo
from vaebalance.data.splits import SPLITS, assign_splits, choose_subset

if TYPE_CHECKING:
    import pandas as pd

SET_ASIDE = "set aside"
TEST_DUPLICATE = "same as a published test image"


def prepare(spec: DataSpec, seed: int, destination: Path, progress: bool = True) -> DatasetInfo:
    """Write the folder `destination`, replacing an existing one only when the new one is complete.

    The folder contains `dataset.json` (a `DatasetInfo`), `<split>.images.npy`, `<split>.labels.npy`
    and, if factors are known, `<split>.factors.npy` for each split, and `manifest.parquet` with one
    row for each picture, including those set aside.

    Args:
        spec: the `data` section.
        seed: seed of the splits, the subset and static binarisation.
        destination: folder to write; created if missing.
        progress: whether to show a bar on stderr, if that is a terminal.

    Raises:
        UserError: the source cannot be read, too many pictures are bad, or a split would be empty.
    """
    collection = spec.source.collect(
        Path(spec.root), max_pixels=spec.max_pixels, workers=spec.workers
    )
    chosen = choose_subset(collection.paths, seed, spec.max_images, collection.published_test)
    try:
        with replacing(destination) as folder:
            folder.mkdir()
            # Without a name where the system allows it, so it disappears with the process.
            with tempfile.TemporaryFile(dir=folder) as spool:
                pictures = _read(collection, chosen, spool, progress)
                _refuse_bad(pictures, spec)
                pictures = _place(pictures, collection, spec, seed)
                _refuse_empty(pictures, collection, spec)
                info = _write(
                    pictures, collection, spool, folder, spec.binarisation, seed, progress
                )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        shape = "×".join(map(str, collection.image_shape))
        gigabytes = 2 * len(chosen) * math.prod(collection.image_shape) / 1e9
        raise UserError(
            f"{destination}: no space left on this disk; preparing {len(chosen):,} images of "
            f"{shape} needs {gigabytes:.2f} GB. Free some space, or lower data.max_images or the "
            "size of the images."
        ) from error
    return info


def _read(
    collection: Collection, chosen: NDArray[np.int64], spool: IO[bytes], progress: bool
) -> pd.DataFrame:
    """Write the usable pictures to the spool; return one row per chosen picture, in order."""
    import pandas as pd

    digests: list[str | None] = []
    reasons: list[str | None] = []
    sizes: list[NDArray[np.int64]] = []
    with _bar("prepare", len(chosen), progress) as bar:
        for batch in collection.read(chosen):
            for image, reason in zip(batch.images, batch.reasons, strict=True):
                if reason is None:
                    content = image.tobytes()
                    spool.write(content)
                    digests.append(hashlib.sha256(content).hexdigest())
                else:
                    digests.append(None)
            reasons += batch.reasons
            sizes.append(batch.sizes)
            bar.update(len(batch.reasons))
    spool.flush()
    width, height = np.concatenate(sizes).T
    good = np.array([reason is None for reason in reasons])
    return pd.DataFrame(
        {
            "position": chosen,
            "path": pd.Series([collection.paths[position] for position in chosen], dtype="str"),
            "label": collection.labels[chosen],
            "width": width,
            "height": height,
            "digest": pd.Series(digests, dtype="str"),
            "reason": pd.Series(reasons, dtype="str"),
            "spooled": np.where(good, np.cumsum(good) - 1, -1),
        }
    )


def _refuse_bad(pictures: pd.DataFrame, spec: DataSpec) -> None:
    bad = pictures[pictures["reason"].notna()]
    share = len(bad) / len(pictures)
    if len(bad) < len(pictures) and share <= spec.max_bad_fraction:
        return
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in _counts(bad["reason"]).items())
    examples = ", ".join(bad["path"].head(3))
    limit = f"data.max_bad_fraction = {spec.max_bad_fraction}"
    raise UserError(
        f"data.root = {spec.root!r}: {len(bad):,} of {len(pictures):,} pictures cannot be used "
        f"({reasons}), for example {examples}. "
        + (
            f"That is {share:.1%}, more than {limit}; repair or remove them, or raise the limit."
            if len(bad) < len(pictures)
            else "No picture is left."
        )
    )


def _place(
    pictures: pd.DataFrame, collection: Collection, spec: DataSpec, seed: int
) -> pd.DataFrame:
    """Assign a split and a row to each picture; sort by both, with pictures set aside last."""
    pictures = pictures.copy()
    good = pictures["reason"].isna()
    published = collection.published_test
    if published is not None:
        is_test = published[pictures["position"]]
        copied = good & ~is_test & pictures["digest"].isin(pictures.loc[is_test & good, "digest"])
        pictures.loc[copied, "reason"] = TEST_DUPLICATE
        good &= ~copied
    pictures["split"] = SET_ASIDE
    pictures.loc[good, "split"] = assign_splits(
        [bytes.fromhex(digest) for digest in pictures.loc[good, "digest"]],
        seed,
        spec.validation_fraction,
        spec.test_fraction,
        None if published is None else published[pictures.loc[good, "position"]],
    )
    # Sort by digest, so that the order of files does not matter, and duplicates by name.
    pictures = pictures.sort_values(
        ["split", "digest", "position"],
        key=lambda column: (
            column.map([*SPLITS, SET_ASIDE].index) if column.name == "split" else column
        ),
    )
    rows = pictures.groupby("split").cumcount().astype("Int64")
    pictures["row"] = rows.where(pictures["split"] != SET_ASIDE)
    return pictures.reset_index(drop=True)


def _refuse_empty(pictures: pd.DataFrame, collection: Collection, spec: DataSpec) -> None:
    counts = _counts(pictures["split"])
    fractions = {"validation": spec.validation_fraction, "test": spec.test_fraction}
    if collection.published_test is not None:
        fractions["test"] = 1.0
    for split in SPLITS:
        fraction = fractions.get(split, 1.0)
        if counts.get(split, 0) or not fraction:
            continue
        total = sum(count for name, count in counts.items() if name != SET_ASIDE)
        knob = f"data.{split}_fraction"
        if split == "train":
            remedy = "lower data.validation_fraction or data.test_fraction"
        elif split == "test" and collection.published_test is not None:
            remedy = "check the data set's test files"
        else:
            remedy = f"raise {knob} (now {fraction}), or set it to 0 to omit this split"
        raise UserError(
            f"the {split} split is empty: there are only {total:,} usable images. Add pictures "
            f"(data.max_images is {spec.max_images or 'null: all'}), or {remedy}."
        )


def _write(
    pictures: pd.DataFrame,
    collection: Collection,
    spool: IO[bytes],
    folder: Path,
    binarisation: Binarisation,
    seed: int,
    progress: bool,
) -> DatasetInfo:
    """Write all files into `folder`."""
    shape = collection.image_shape
    placed = pictures[pictures["split"] != SET_ASIDE]
    content = hashlib.sha256(f"{binarisation} {shape}".encode())
    statistics = _Statistics(shape)
    with _bar("write", len(placed), progress) as bar:
        for split in SPLITS:
            part = placed[placed["split"] == split]
            digests = [bytes.fromhex(digest) for digest in part["digest"]]
            spooled = part["spooled"].to_numpy()
            content.update(f" {split} {len(part)} ".encode())
            with (folder / f"{split}.images.npy").open("wb") as file:
                _write_header(file, (len(part), *shape))
                for run in chunks(len(part), shape):
                    images = _spooled_images(spool, spooled[run], shape)
                    images = binarise(images, digests[run], binarisation, seed)
                    file.write(images.data)
                    content.update(images.data)
                    if split == "train":
                        statistics.add(images)
                    bar.update(len(images))
            _save(folder / f"{split}.labels.npy", part["label"].to_numpy(), content)
            if collection.factors is not None:
                factors = collection.factors[part["position"]]
                _save(folder / f"{split}.factors.npy", factors, content)
    _write_manifest(pictures, folder / MANIFEST)
    counts = _counts(placed["split"])
    info = DatasetInfo(
        name=collection.name,
        image_shape=shape,
        splits={split: counts.get(split, 0) for split in SPLITS},
        binarisation=binarisation,
        label_names=collection.label_names,
        factor_names=collection.factor_names,
        factor_sizes=collection.factor_sizes,
        **statistics.summary(dynamic=binarisation == "dynamic"),
        duplicates=int(placed["digest"].duplicated().sum()),
        set_aside=_counts(pictures["reason"]),
        ignored=collection.ignored,
        seed=seed,
        digest=content.hexdigest(),
    )
    write_json(folder / INFO, info.to_json())
    return info


def _spooled_images(
    spool: IO[bytes], rows: NDArray[np.int64], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Read the images [n, C, H, W] at `rows` of the spool.

    (A memory map would work too, but its pages would count as this process's memory.)
    """
    images = np.empty((len(rows), math.prod(shape)), np.uint8)
    for image, row in zip(images, rows.tolist(), strict=True):
        spool.seek(row * image.size)
        image[:] = np.frombuffer(spool.read(image.size), np.uint8)
    return images.reshape(-1, *shape)


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """Write the header of a .npy file of bytes, whose content follows in pieces."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _save(path: Path, values: NDArray[np.int64], content: hashlib._Hash) -> None:
    values = np.ascontiguousarray(values, "<i8")
    np.save(path, values)
    content.update(values.data)


def _write_manifest(pictures: pd.DataFrame, path: Path) -> None:
    columns = ["path", "split", "label", "width", "height", "digest", "row", "reason"]
    pictures[columns].to_parquet(path, engine="pyarrow", index=False)


def _counts(values: pd.Series[str]) -> dict[str, int]:
    """Count each value, sorted by name, without missing values."""
    return {str(name): int(n) for name, n in values.value_counts().sort_index().items()}


def _bar(what: str, total: int, progress: bool) -> tqdm[Any]:
    """Return a progress bar on stderr; tqdm hides it (None) if stderr is not a terminal."""
    return tqdm(desc=what, total=total, unit=" images", disable=None if progress else True)


class _Statistics:
    """Sums over images, as integers, so the order of summation does not matter."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.count = 0
        self.sums = np.zeros(shape, np.int64)
        self.squares = np.zeros(shape, np.int64)
        self.least = np.full(shape, 255, np.uint8)
        self.greatest = np.zeros(shape, np.uint8)

    def add(self, images: NDArray[np.uint8]) -> None:
        """Add the images [n, C, H, W]."""
        self.count += len(images)
        self.sums += images.sum(0, dtype=np.int64)
        self.squares += np.square(images, dtype=np.uint16).sum(0, dtype=np.int64)
        self.least = np.minimum(self.least, images.min(0))
        self.greatest = np.maximum(self.greatest, images.max(0))

    def summary(self, *, dynamic: bool) -> dict[str, Any]:
        """Return the fields of `DatasetInfo` that depend on pixels."""
        # A pixel that is sampled black or white has E[x²] = E[x].
        squares = 255 * self.sums if dynamic else self.squares
        pixels = self.count * self.sums[0].size
        channel_means, channel_stds = [], []
        for channel_sums, channel_squares in zip(self.sums, squares, strict=True):
            total, total_square = int(channel_sums.sum()), int(channel_squares.sum())
            channel_means.append(total / (pixels * 255))
            channel_stds.append(math.sqrt(pixels * total_square - total**2) / (pixels * 255))
        spread = self.count * int(squares.sum()) - sum(s * s for s in self.sums.ravel().tolist())
        white = self.sums.ravel() / (255 * self.count)
        entropies = (-p * math.log(p) - (1 - p) * math.log1p(-p) for p in white if 0 < p < 1)
        # A sampled pixel is constant only if its grey level is always black or always white.
        same = self.least == self.greatest
        if dynamic:
            same &= (self.least == 0) | (self.least == 255)
        return {
            "pixel_mean": tuple(channel_means),
            "pixel_std": tuple(channel_stds),
            "squared_error_of_mean": spread / (255 * self.count) ** 2,
            "bernoulli_distortion_of_mean": math.fsum(entropies),
            "constant_pixels": int(same.sum()),
        }
