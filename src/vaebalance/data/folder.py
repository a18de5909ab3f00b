"""A folder of the user's own pictures, of any size, colour mode, format and nesting."""

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
"""Number of pictures from which decoding in parallel is faster than starting the processes."""
TASK_BYTES = 2**20
"""Maximum size of the pixels that a process returns at once."""
TASK_PICTURES = 32
"""Maximum number of pictures that a process takes at once."""


class ImageFolder(AbstractSource):
    """PNG, JPEG, WebP, BMP, GIF and TIFF files in `data.root` and its subfolders.

    Each picture is scaled up or down, with antialiasing, to cover a square, and cropped to its
    centre. The folders directly in `data.root` are the labels; a picture outside them has none.
    """

    kind: Literal["image_folder"] = "image_folder"
    size: int = Field(default=64, ge=8, le=1024)
    """Side of the square, in pixels."""
    channels: Literal[1, 3] = 3
    """3 for colour, 1 for grey."""
    background: Literal["white", "black"] = "white"
    """Colour behind transparent pixels."""

    def collect(self, root: Path, *, max_pixels: int, workers: int | None) -> Collection:
        """List the pictures below `root`, sorted by name."""
        if not root.is_dir():
            what = "not a folder" if root.exists() else "no such folder"
            raise UserError(
                f"data.root = {str(root)!r}: {what}; set it to the folder of your pictures."
            )
        files, ignored = list_pictures(root)
        if not files:
            seen = ", ".join(f"{count} {kind}" for kind, count in ignored.items()) or "nothing"
            raise UserError(
                f"data.root = {str(root)!r}: no pictures in it (found: {seen}); give a folder of "
                f"files that end in one of {' '.join(sorted(EXTENSIONS))}."
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
    """Return the sorted picture files below `root`, relative to it, and counts of other files.

    Hidden files and folders are skipped. Links are followed, and each folder is read only once, so
    loops of links end.
    """
    files: list[str] = []
    ignored: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    # Visit folders before links to folders, so that pictures get their real path.
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
                ignored["pipes, sockets and devices"] += 1  # opening one could block for ever
    return sorted(files, key=os.fsencode), dict(sorted(ignored.items()))


def _leads_to(entry: os.DirEntry[str], kind: Callable[[int], bool]) -> bool:
    """Return whether `entry` is a link whose target's mode satisfies `kind` (0 if unreachable)."""
    if not entry.is_symlink():
        return False
    try:
        return kind(entry.stat().st_mode)
    except OSError:
        return kind(0)


def _is_file_or_nothing(mode: int) -> bool:
    return stat.S_ISREG(mode) or mode == 0


def printable(name: str) -> str:
    """Escape everything in a file name that is not printable text."""
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
    """Decode the files at `positions`, in `workers` processes if that is faster."""
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
            "out of memory while decoding pictures; lower data.max_pixels or data.workers."
        ) from error


def _decode(recipe: Recipe, paths: Sequence[str]) -> Batch:
    """Decode the pictures of one task; it runs in a process of its own."""
    pictures: list[Picture] = [read_picture(path, recipe) for path in paths]
    blank = np.zeros((recipe.channels, recipe.size, recipe.size), np.uint8)
    return Batch(
        images=np.stack([blank if p.pixels is None else p.pixels for p in pictures]),
        sizes=np.array([(p.width, p.height) for p in pictures], np.int64),
        reasons=[p.reason for p in pictures],
    )
