"""Reports of small runs, and a curve for the slider."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.helpers.curve_examples import make_example
from vaebalance.pages.report.build import build
from vaebalance.pages.report.trade_off import KnownCurve, trade_off
from vaebalance.pages.slider.facts import CurveFacts, Mark
from vaebalance.pages.slider.saved_states import SavedCurve


@pytest.fixture(scope="session")
def pages(runs):
    """Return a function that builds the page of a variant once."""
    built: dict[str, Path] = {}

    def get(variant: str) -> Path:
        if variant not in built:
            built[variant] = runs(variant).report()
        return built[variant]

    return get


@pytest.fixture(scope="session")
def curve(runs, tmp_path_factory) -> KnownCurve:
    """Make a curve of the plain run's images and model, whose codes shrink as β grows."""
    inputs = runs("plain").inputs()
    spread = []
    for beta in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
        model = copy.deepcopy(inputs.model)
        for parameter in model.encoder.parameters():
            parameter.data *= 1 / (1 + beta)
        spread.append((beta, model))
    facts = CurveFacts("digits", "Seven models, ever weaker.", (Mark("knee", 0.2),), "A caution.")
    page = tmp_path_factory.mktemp("curve") / "curve.html"
    example = make_example(spread, inputs.dataset, facts, page)
    saved = SavedCurve(example.states, example.shown, example.facts)
    return KnownCurve("digits curve 1234", same_penalty=True, saved=saved)


@pytest.fixture(scope="session")
def with_slider(runs, curve):
    """Build the plain run's page with the slider."""
    run, inputs = runs("plain"), runs("plain").inputs()
    return build(inputs, run.spec, 0, run.root / "with_slider", trade_off(inputs, curve))
