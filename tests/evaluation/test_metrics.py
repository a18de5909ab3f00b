"""Every number of evaluation.json has a name, and rows keep related numbers together."""

import json
from dataclasses import fields

import pytest
import torch

from vaebalance.evaluation.metrics import COMPANIONS, VOCABULARY, measure, rows
from vaebalance.evaluation.results import (
    DisentanglementMetrics,
    LatentMetrics,
    SampleMetrics,
    SplitMetrics,
)
from vaebalance.evaluation.stage import evaluate

GROUPS = {
    "test": SplitMetrics,
    "latents": LatentMetrics,
    "samples/own": SampleMetrics,
    "samples/inception": SampleMetrics,
    "disentanglement": DisentanglementMetrics,
}
EVERY_KEY = [f"{group}/{field.name}" for group, kind in GROUPS.items() for field in fields(kind)]


@pytest.mark.parametrize("key", EVERY_KEY)
def test_every_number_has_a_measure(key):
    found, suffix = measure(key)
    assert found.name
    assert suffix == "" or (suffix in COMPANIONS and key.endswith(f"_{suffix}"))


def test_the_vocabulary_names_nothing_that_is_not_there():
    known = {key.replace("/own/", "/*/").replace("/inception/", "/*/") for key in EVERY_KEY}
    assert set(VOCABULARY) <= known


def test_entries_are_fit_to_be_shown():
    names = [found.name for key, found in VOCABULARY.items()]
    assert len(set(names)) == len(names)
    for found in VOCABULARY.values():
        assert found.reading.endswith(".")
        assert found.reading[0] in "−σ" or found.reading[0].isupper() or found.reading[0].isdigit()
        assert "\n" not in found.reading
        assert found.better in ("lower", "higher", None)


@pytest.mark.parametrize("key", ["test/nonsense", "samples/own/mig", "rate", "latents/_null", ""])
def test_unknown_keys_have_none(key):
    assert measure(key) is None


def numbers(kind, start):
    return {field.name: start + i for i, field in enumerate(fields(kind))}


CONTENT = {
    "test": numbers(SplitMetrics, 0.0),
    "latents": numbers(LatentMetrics, 100.0),
    "samples": {"own": numbers(SampleMetrics, 200.0), "inception": numbers(SampleMetrics, 300.0)},
    "disentanglement": numbers(DisentanglementMetrics, 400.0),
    "settings": {"feature_spaces": {"own": "own classifier", "inception": "Inception-v3"}},
}


def test_rows_have_every_number_once_as_value_or_companion():
    shown = []
    for row in rows(CONTENT):
        section, *space, name = row.key.split("/")
        group = CONTENT[section][space[0]] if space else CONTENT[section]
        assert group[name] == row.value
        shown += [row.value, row.standard_error, row.reference]
    expected = [
        *CONTENT["test"].values(),
        *CONTENT["latents"].values(),
        *CONTENT["samples"]["own"].values(),
        *CONTENT["samples"]["inception"].values(),
        *CONTENT["disentanglement"].values(),
    ]
    assert sorted(value for value in shown if value is not None) == sorted(expected)


def test_rows_are_grouped_by_section_and_space_and_say_what_the_reference_is():
    found = rows(CONTENT)
    groups = [(row.section, row.space) for row in found]
    assert list(dict.fromkeys(groups)) == [
        ("test", ""),
        ("latents", ""),
        ("samples", "own classifier"),
        ("samples", "Inception-v3"),
        ("disentanglement", ""),
    ]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index)
    by_key = {row.key: row for row in found}
    floor = by_key["samples/own/frechet"]
    assert floor.reference == CONTENT["samples"]["own"]["frechet_floor"]
    assert floor.reference_name == "training images against test images"
    assert by_key["test/psnr"].reference_name == ""


def test_files_of_other_versions_are_read_as_far_as_they_go():
    """Read files without samples, a null of coverage or settings, and with an unknown number."""
    older = {"test": {"distortion": 1.0, "rate": None, "of_later": 2.0}, "latents": {}}
    found = [(row.key, row.value) for row in rows(older)]
    assert found == [("test/distortion", 1.0), ("test/rate", None)]
    assert rows({}) == rows({"samples": None, "settings": None}) == []


def test_every_number_of_a_real_evaluation_is_known(make_vae, make_dataset, make_spec):
    dataset = make_dataset(label=torch.arange(90) % 10)
    found = evaluate(make_vae(), dataset, make_spec(), 0)
    unknown = [
        key for key, value in found.metrics().items() if value is not None and not measure(key)
    ]
    assert unknown == []
    json.dumps(found.to_json(), allow_nan=False)
