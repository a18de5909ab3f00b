"""Curves of the digits from short trainings of a small network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaebalance.curve.curve_training import curve_training
from vaebalance.curve.curves import AbstractCurve
from vaebalance.data import Dataset
from vaebalance.settings import CurveSettings, parse, read_yaml

ROOT = Path(__file__).parents[2]
SMALL = {
    "model": {
        "architecture": {"kind": "mlp", "hidden": [32], "activation": "relu"},
        "latent_size": 4,
        "posterior": "gaussian",
    },
    "train": {"epochs": 25, "learning_rate": 0.003, "device": "cpu"},
    "evaluate": {"nll_samples": 8, "sample_images": 100},
    "curve": {"points": 5},
}


def make_settings(**sections: dict[str, Any]) -> CurveSettings:
    """Build params.yaml with small values, updated by `sections`."""
    raw = copy.deepcopy(read_yaml(ROOT / "params.yaml"))
    for layer in (SMALL, sections):
        for name, section in layer.items():
            raw[name] = raw[name] | section if isinstance(section, dict) else section
    if "likelihood" in sections:
        raw["likelihood"] = sections["likelihood"]
    settings = parse(raw)
    return CurveSettings.model_validate(
        {name: getattr(settings, name) for name in CurveSettings.model_fields}
    )


@pytest.fixture(scope="session")
def curve_settings() -> Callable[..., CurveSettings]:
    """Return a function that makes settings: `curve_settings(curve={"points": 3})`."""
    return make_settings


def trained(settings: CurveSettings, dataset: Dataset) -> AbstractCurve:
    """Train a curve to the end and return it."""
    training = curve_training(settings, dataset)
    for _ in training:
        pass
    return training.curve


@pytest.fixture(scope="session")
def train_curve() -> Callable[[CurveSettings, Dataset], AbstractCurve]:
    """Return a function that trains a curve to its end."""
    return trained


@pytest.fixture(scope="session")
def conditioned(digits: Dataset) -> AbstractCurve:
    """Train a conditioned model."""
    return trained(make_settings(), digits)


@pytest.fixture(scope="session")
def continuation(digits: Dataset) -> AbstractCurve:
    """Train a sweep through five β."""
    settings = make_settings(train={"epochs": 60}, curve={"method": "continuation"})
    return trained(settings, digits)
