"""Reading files as points, and their names."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.base.errors import UserError
from vaebalance.tracking.points import (
    PARAM_LENGTH,
    Point,
    flatten,
    param_text,
    read_curves,
    read_metrics,
    same,
)


def test_points_bear_the_time_at_which_their_epoch_ended(tmp_path):
    history, timing = tmp_path / "history.csv", tmp_path / "timing.csv"
    history.write_text("epoch,step,train/rate,train/distortion\n1,7,2.5,\n2,14,0.1,nan\n")
    timing.write_text(
        "epoch,step,seconds,images_per_second,finished_at\n1,7,0.5,99,1700000000123\n"
    )
    first, second = (
        [point for point in read_curves(history, timing) if point.step == step] for step in (7, 14)
    )
    assert first == [
        Point("epoch", 1.0, 7, 1700000000123),
        Point("train/rate", 2.5, 7, 1700000000123),
        Point("seconds", 0.5, 7, 1700000000123),
        Point("images_per_second", 99.0, 7, 1700000000123),
    ]
    assert [point.key for point in second] == ["epoch", "train/rate", "train/distortion"]
    assert math.isnan(second[2].value)
    assert {point.timestamp for point in second} == {int(history.stat().st_mtime * 1000)}
    assert read_curves(tmp_path / "absent.csv", timing) == []


def test_a_damaged_history_is_named(tmp_path):
    history = tmp_path / "history.csv"
    history.write_text("epoch,step,train/rate\n1,7,2.5\n2,14,much\n")
    with pytest.raises(UserError, match=r"history\.csv, line 3.*'much'"):
        read_curves(history, tmp_path / "timing.csv")


leaves = st.none() | st.booleans() | st.integers()
names = st.sampled_from(["a", "b", "cd"])
nested = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner, min_size=1))
)


@given(nested)
def test_flat_names_hold_the_whole_nesting(tree):
    rebuilt = {}
    for name, value in flatten(tree, ".").items():
        *path, last = name.split(".")
        inner = rebuilt
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    assert rebuilt == tree


def test_metrics_are_the_numbers_of_the_file(tmp_path):
    path = tmp_path / "evaluation.json"
    content = {"rate": 3, "test": {"psnr": 20.5, "ssim": None}, "device": "cpu", "ok": True}
    path.write_text(json.dumps(content | {"settings": {"nll_samples": 256}}))
    assert read_metrics(path) == {"rate": 3.0, "test/psnr": 20.5}
    assert read_metrics(path, "model") == {"model/rate": 3.0, "model/test_psnr": 20.5}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-3, "0.001"),
        (None, "null"),
        (True, "true"),
        ([1, 2], "[1, 2]"),
        ("mlp", "mlp"),
        ({}, "{}"),
    ],
)
def test_parameters_read_as_in_yaml(value, text):
    assert param_text(value) == text


def test_a_long_parameter_is_cut_to_what_mlflow_takes():
    text = param_text(list(range(5000)))
    assert len(text) == PARAM_LENGTH
    assert text.endswith("…")


def test_same_forgives_the_digits_of_a_text_file_and_no_more():
    assert same(100.0, 100.00001)
    assert not same(100.0, 100.001)
    assert same(math.nan, math.nan)
    assert not same(math.nan, 1.0)
