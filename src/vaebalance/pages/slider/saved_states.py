"""States on disk, for pages that are made later; the file holds only numbers and text."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing
from vaebalance.pages.figures.picture_sheets import thumbnails
from vaebalance.pages.slider.examples import ShownImages
from vaebalance.pages.slider.facts import CurveFacts, Mark, nearest
from vaebalance.pages.slider.states import LEAST_STATES, MOST_STATES, CurveState, latents_by_rate

FILE = "slider.npz"
FORMAT = 1
LARGEST_SIDE, SIDE = 64, 48
"""Largest side in pixels of pictures that keep their size; side to which larger ones are shrunk."""
DAMAGES = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class SavedCurve:
    """Contents of a slider; `mean` and `std` are NaN except for the latents of the plane."""

    states: list[CurveState]
    shown: ShownImages
    facts: CurveFacts


def save_states(
    path: Path, states: Sequence[CurveState], shown: ShownImages, facts: CurveFacts
) -> None:
    """Write the states, all or nothing; the same arguments give the same bytes.

    Pictures with sides of more than `LARGEST_SIDE` pixels are shrunk.
    """
    plane = latents_by_rate(states)[:2]
    words = {
        "format": FORMAT,
        "facts": asdict(facts),
        "names": shown.names,
        "label_names": shown.label_names,
    }
    arrays: dict[str, Any] = {
        "words": np.frombuffer(json.dumps(words).encode(), np.uint8),
        "beta": np.array([s.beta for s in states]),
        "distortion": np.array([s.distortion for s in states]),
        "rate_by_latent": np.stack([s.rate_by_latent for s in states]),
        "active": np.stack([s.active for s in states]),
        "mean": np.stack([s.mean[:, plane] for s in states]),
        "std": np.stack([s.std[:, plane] for s in states]),
        "originals": _shrink(shown.originals),
        "reconstructions": np.stack([_shrink(s.reconstructions) for s in states]),
        "samples": np.stack([_shrink(s.samples) for s in states]),
        "positions": np.array(shown.positions),
        "coded": np.array(shown.coded),
        "labels": shown.labels,
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_states(path: Path) -> SavedCurve:
    """Read what `save_states` wrote.

    Raises:
        UserError: the file is missing, damaged, or from another version of this code.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        words = json.loads(values["words"].tobytes())
        if words["format"] != FORMAT:
            raise ValueError(f"format {words['format']}, expected {FORMAT}")
        saved = _parse(words, values)
        _check(saved)
    except DAMAGES as error:
        raise UserError(
            f"{path} cannot be read as a slider's states ({error}); write it again with "
            "`dvc repro --force curve/dvc.yaml`."
        ) from error
    return saved


def _shrink(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Shrink uint8 images [N, C, H, W] if they are large."""
    longest = max(images.shape[-2:])
    side = longest if longest <= LARGEST_SIDE else SIDE
    return thumbnails(torch.from_numpy(images), side).numpy()


def _parse(words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SavedCurve:
    rates = arrays["rate_by_latent"].astype(np.float64)
    mean, std = arrays["mean"], arrays["std"]
    latents = rates.shape[1]
    plane = np.argsort(-rates.mean(0), kind="stable")[:2]
    columns = zip(
        arrays["beta"].tolist(),
        arrays["distortion"].tolist(),
        rates,
        arrays["active"].astype(np.bool_),
        _check_images(arrays["reconstructions"], 5),
        _check_images(arrays["samples"], 5),
        _expand_latents(mean, latents, plane),
        _expand_latents(std, latents, plane),
        strict=True,
    )
    states = [CurveState(*column) for column in columns]
    facts = words["facts"]
    marks = tuple(Mark(str(m["name"]), float(m["beta"])) for m in facts["marks"])
    caution = facts["caution"]
    return SavedCurve(
        states,
        ShownImages(
            tuple(arrays["positions"].tolist()),
            _check_images(arrays["originals"], 4),
            tuple(str(name) for name in words["names"]),
            tuple(arrays["coded"].tolist()),
            arrays["labels"].astype(np.int64),
            tuple(str(name) for name in words["label_names"]),
        ),
        CurveFacts(
            str(facts["title"]),
            str(facts["models"]),
            marks,
            None if caution is None else str(caution),
        ),
    )


def _check_images(images: NDArray[Any], dimensions: int) -> NDArray[np.uint8]:
    if images.dtype != np.uint8 or images.ndim != dimensions:
        raise ValueError(f"pictures of {images.dtype} with {images.ndim} dimensions")
    return images


def _expand_latents(
    values: NDArray[Any], latents: int, plane: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Expand values of the plane's latents to all latents, [S, M, Z], with NaN elsewhere."""
    expanded = np.full((*values.shape[:2], latents), np.nan, np.float32)
    expanded[..., plane] = values
    return expanded


def _check(saved: SavedCurve) -> None:
    """Check the invariants of `curve_states` and `shown_images` on which a page relies.

    Raises:
        ValueError, UserError: one is violated.
    """
    states, shown = saved.states, saved.shown
    betas = np.array([state.beta for state in states])
    numbers = np.array([[state.distortion, *state.rate_by_latent] for state in states])
    plane = latents_by_rate(states)[:2]
    first, codes = states[0], np.stack([(s.mean[:, plane], s.std[:, plane]) for s in states])
    channels, images = first.samples.shape[1], shown.originals
    named = (len(shown.names), channels, *first.samples.shape[2:])
    invariants = {
        "a valid number of β": LEAST_STATES <= len(states) <= MOST_STATES,
        "ascending β": betas[0] > 0 and bool((np.diff(betas) > 0).all()),
        "finite numbers": all(np.isfinite(part).all() for part in (betas, numbers, codes)),
        "rates of latents": numbers.shape[1] > 1 and first.active.shape == numbers[0, 1:].shape,
        "pictures": len(first.samples) > 0 and channels in (1, 3),
        "a name per picture": named[0] > 0 and first.reconstructions.shape == images.shape == named,
        "a label per code": codes.shape[2] == len(shown.labels) > 0,
        "a name per label": -1 <= shown.labels.min() <= shown.labels.max() < len(shown.label_names),
    }
    if broken := [name for name, holds in invariants.items() if not holds]:
        raise ValueError(f"without {', '.join(broken)}")
    for mark in saved.facts.marks:
        nearest(states, mark)
