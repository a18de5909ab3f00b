"""A person's own pictures: any size, colour mode, format and nesting."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vaebalance.base.errors import UserError
from vaebalance.data.collection import AbstractSource, Batch, Collection
from vaebalance.data.picture_files import EXTENSIONS, Picture, Recipe, read_picture
from vaebalance.data.pool import available_cores, parallel

WORTH_A_POOL = 256
"""Pictures below which starting processes takes longer than decoding."""
TASK_BYTES = 2**20
"""Pixels that a process hands over at once."""
TASK_PICTURES = 32
"""Pictures that a process takes at once."""


class ImageFolder(AbstractSource):
    """PNG, JPEG, WebP, BMP, GIF and TIFF files in `data.root` and all the folders in it.

    Each is scaled (antialiased; small ones are scaled up) until it covers a square, whose middle is
    kept. The folders directly in `data.root` are the labels; a picture outside them has none.
    """

    kind: Literal["image_folder"] = "image_folder"
    size: int = Field(default=64, ge=8, le=1024)
    """Side of the square, in pixels."""
    channels: Literal[1, 3] = 3
    """3 for colour, 1 for grey."""
    background: Literal["white", "black"] = "white"
    """What shows through transparent pixels."""

    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """The pictures below `root`, in the order of their names."""
        if not root.is_dir():
            what = "not a folder" if root.exists() else "no such folder"
            raise UserError(
                f"data.root = {str(root)!r}: {what}; set it to the folder of your pictures."
            )
        files, ignored = list_pictures(root)
        if not files:
            seen = ", ".join(f"{count} {kind}" for kind, count in ignored.items()) or "nothing"
            raise UserError(
                f"data.root = {str(root)!r}: no pictures in it (found: {seen}). A picture's name "
                f"ends in one of {' '.join(sorted(EXTENSIONS))}."
            )
        folders = [name.split(os.sep, 1)[0] if os.sep in name else "" for name in files]
        names = sorted(set(folders) - {""}, key=os.fsencode)
        number = {name: label for label, name in enumerate(names)} | {"": -1}
        recipe = Recipe(self.size, self.channels, self.background, max_pixels)
        return Collection(
            name=self.kind,
            image_shape=(self.channels, self.size, self.size),
            paths=[printable(name.replace(os.sep, "/")) for name in files],
            labels=np.array([number[folder] for folder in folders], np.int64),
            label_names=tuple(map(printable, names)) or None,
            ignored=ignored,
            read=partial(_read, root, files, recipe, workers),
        )


def list_pictures(root: Path) -> tuple[list[str], dict[str, int]]:
    """The picture files below `root`, relative to it and sorted, and what else was there.

    Hidden files and folders are passed over. Links are followed; a folder that is reached twice is
    read once, so that loops end.
    """
    files: list[str] = []
    ignored: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    # Folders go before links to folders, so that a link never names what has a place of its own.
    folders, links = deque([""]), deque[str]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = (root / folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(root / folder), key=lambda e: os.fsencode(e.name))
        except PermissionError:
            ignored["folders that cannot be opened"] += 1
            continue
        for entry in entries:
            name = f"{folder}{os.sep}{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                ignored["hidden"] += 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif _leads_to(entry, stat.S_ISDIR):
                links.append(name)
            elif (ending := Path(entry.name).suffix.lower()) not in EXTENSIONS:
                ignored[printable(ending) or "without an ending"] += 1
            elif entry.is_file(follow_symlinks=False) or _leads_to(entry, _is_file_or_nothing):
                files.append(name)
            else:
                ignored["pipes, sockets and devices"] += 1  # opening one could wait for ever
    return sorted(files, key=os.fsencode), dict(sorted(ignored.items()))


def _leads_to(entry: os.DirEntry[str], kind: Callable[[int], bool]) -> bool:
    """Whether a link's target is of that kind; the mode of one that cannot be reached is 0."""
    if not entry.is_symlink():
        return False
    try:
        return kind(entry.stat().st_mode)
    except OSError:
        return kind(0)


def _is_file_or_nothing(mode: int) -> bool:
    return stat.S_ISREG(mode) or mode == 0


def printable(name: str) -> str:
    """A file name that any screen and file can hold: what is no printable text is escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _read(
    root: Path,
    files: Sequence[str],
    recipe: Recipe,
    workers: int | None,
    positions: NDArray[np.int64],
) -> Iterator[Batch]:
    """Decode the files at `positions`, on `workers` cores when that is worth it."""
    paths = [str(root / files[position]) for position in positions]
    size = max(1, min(TASK_PICTURES, TASK_BYTES // (recipe.channels * recipe.size**2)))
    tasks = [paths[start : start + size] for start in range(0, len(paths), size)]
    if len(paths) < WORTH_A_POOL:
        workers = 1
    elif workers is None:
        workers = available_cores()
    try:
        yield from parallel(partial(_decode, recipe), tasks, min(workers, len(tasks)))
    except MemoryError as error:
        raise UserError(
            "out of memory while decoding pictures; set data.max_pixels or data.workers lower."
        ) from error


def _decode(recipe: Recipe, paths: Sequence[str]) -> Batch:
    """One task: it runs in a process of its own."""
    pictures: list[Picture] = [read_picture(path, recipe) for path in paths]
    blank = np.zeros((recipe.channels, recipe.size, recipe.size), np.uint8)
    return Batch(
        images=np.stack([blank if p.pixels is None else p.pixels for p in pictures]),
        sizes=np.array([(p.width, p.height) for p in pictures], np.int64),
        reasons=[p.reason for p in pictures],
    )
