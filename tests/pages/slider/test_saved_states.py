"""States on disk: the page of saved states is the same, and damage is reported."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.curve_examples import noisy
from vaebalance.base.errors import UserError
from vaebalance.pages.slider.saved_states import load_states, save_states
from vaebalance.pages.slider.slider_page import render


@pytest.mark.parametrize("name", ["sixty", "one_latent", "hostile"])
def test_the_page_of_saved_states_is_the_same(name, examples, tmp_path):
    example = examples(name)
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for path in paths:
        save_states(path, example.states, example.shown, example.facts)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    saved = load_states(paths[0])
    assert render(saved.states, saved.shown, saved.facts) == example.page.read_text("utf-8")


def test_large_pictures_are_kept_small(uneven, tmp_path):
    states, shown = noisy(uneven.states, uneven.shown, (3, 96, 128))
    save_states(tmp_path / "slider.npz", states, shown, uneven.facts)
    saved = load_states(tmp_path / "slider.npz")
    assert saved.shown.originals.shape[1:] == (3, 36, 48)
    assert saved.states[0].samples.shape[1:] == (3, 36, 48)


def damage(path, **changes):
    """Change arrays of the file, or entries of its `words`."""
    with np.load(path) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    words = json.loads(values["words"].tobytes())
    for name, change in changes.items():
        if name in words:
            words[name] = change
        elif change is None:
            del values[name]
        else:
            values[name] = change(values[name])
    values["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
    np.savez(path, **values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format 2, expected 1"),
        ({"names": ["only one"]}, "a name per picture"),
        ({"facts": {"title": "x"}}, "models|marks"),
        ({"beta": None}, "beta"),
        ({"beta": lambda x: x[::-1]}, "ascending"),
        ({"beta": lambda x: -x}, "ascending"),
        ({"distortion": lambda x: x * np.nan}, "finite"),
        ({"distortion": lambda x: x[:2]}, "shorter"),
        ({"mean": lambda x: x * np.inf}, "finite"),
        ({"mean": lambda x: x[:, :5]}, "shape|dimensions"),
        ({"rate_by_latent": lambda x: x[0]}, "slider's states"),
        ({"active": lambda x: x[:, :2]}, "rates of latents"),
        ({"samples": lambda x: x.astype(float)}, "pictures of float64"),
        ({"originals": lambda x: x[:, :, 1:]}, "a name per picture"),
        ({"labels": lambda x: x + 100}, "a name per label"),
        ({"labels": lambda x: np.array([{}], object)}, "slider's states"),
    ],
)
def test_inconsistent_contents_are_refused(changes, words, uneven, tmp_path):
    path = tmp_path / "slider.npz"
    save_states(path, uneven.states, uneven.shown, uneven.facts)
    damage(path, **changes)
    with pytest.raises(UserError, match=rf"slider\.npz(.|\n)*({words})(.|\n)*dvc repro"):
        load_states(path)


@pytest.mark.parametrize("content", [b"", b"<script>", b"PK\x03\x04 cut", b"\x93NUMPY"])
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "slider.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_states(path)


def test_a_cut_or_missing_file_is_refused(uneven, tmp_path):
    path = tmp_path / "slider.npz"
    with pytest.raises(UserError, match="cannot be read"):
        load_states(path)
    save_states(path, uneven.states, uneven.shown, uneven.facts)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        load_states(path)
    turned = bytearray(content)
    turned[len(content) // 2] ^= 255
    path.write_bytes(bytes(turned))
    with pytest.raises(UserError, match="cannot be read"):
        load_states(path)


def test_a_mark_beyond_the_curve_is_refused(uneven, tmp_path):
    path = tmp_path / "slider.npz"
    (mark,) = uneven.facts.marks
    facts = replace(uneven.facts, marks=(replace(mark, beta=99.0),))
    save_states(path, uneven.states, uneven.shown, facts)
    with pytest.raises(UserError, match="outside the curve"):
        load_states(path)
