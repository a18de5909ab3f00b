"""The `data` section refuses what cannot be."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from vaebalance.data import DataSpec


@pytest.mark.parametrize(
    "change",
    [
        {"validation_fraction": -0.1},
        {"validation_fraction": 1.0},
        {"test_fraction": float("nan")},
        {"validation_fraction": 0.5, "test_fraction": 0.5},
        {"max_images": 0},
        {"max_bad_fraction": 1.1},
        {"max_pixels": 0},
        {"max_pixels": 200_000_000},
        {"binarisation": "dynamc"},
        {"workers": 0},
        {"workers": 1.5},
        {"root": ""},
        {"betta": 1},
        {"source": {"kind": "imagenet"}},
        {"source": {"kind": "digits", "size": 8}},
        {"source": {"kind": "image_folder", "size": 7}},
        {"source": {"kind": "image_folder", "channels": 2}},
        {"source": {"kind": "sprites", "size": 65}},
        {"source": {"kind": "sprites", "scales": 0}},
    ],
)
def test_refused(data_spec: Callable[..., DataSpec], change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        data_spec(**change)


def test_every_key_must_be_there(data_spec: Callable[..., DataSpec]) -> None:
    values = data_spec().model_dump()
    for key in values:
        with pytest.raises(ValidationError, match=key):
            DataSpec.model_validate({k: v for k, v in values.items() if k != key})


@pytest.mark.parametrize(
    "kind", ["digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "sprites", "image_folder"]
)
def test_each_source_has_defaults_and_survives_a_file(
    data_spec: Callable[..., DataSpec], kind: str
) -> None:
    spec = data_spec({"kind": kind})
    assert spec.source.kind == kind
    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec
