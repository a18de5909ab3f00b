"""Examples of curves: small trained models, and incompressible pictures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.helpers.small_runs import PARAMS
from vaebalance.data import Dataset
from vaebalance.pages.slider.examples import ShownImages, shown_images
from vaebalance.pages.slider.facts import CurveFacts, Mark
from vaebalance.pages.slider.slider_page import write_curve_page
from vaebalance.pages.slider.states import CurveState, curve_states
from vaebalance.run import training_run as experiment
from vaebalance.settings import TrainSettings, parse, read_yaml
from vaebalance.vae.model import VAE

TRAINED = (0.01, 0.1, 1.0, 10.0)
BETAS = [10 ** (-2 + 3 * k / 59) for k in range(60)]
FACTS = CurveFacts("digits", "Four models, each at its neighbours' β too.", (Mark("knee", 0.3),))
DEVICES = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}


@dataclass(frozen=True)
class Example:
    """States, the images they show, and their page."""

    states: list[CurveState]
    shown: ShownImages
    facts: CurveFacts
    page: Path


def make_example(models, dataset: Dataset, facts: CurveFacts, page: Path) -> Example:
    states, shown = curve_states(models, dataset, 0), shown_images(dataset, 0)
    write_curve_page(page, states, shown, facts)
    return Example(states, shown, facts, page)


def train(dataset: Dataset, beta: float, latents: int) -> VAE:
    """Return a small VAE of the digits, trained briefly."""
    raw = copy.deepcopy(read_yaml(PARAMS))
    raw["model"]["architecture"]["hidden"] = [32]
    raw["model"]["latent_size"] = latents
    raw["train"] |= {"epochs": 12, "device": "cpu"}
    raw["balance"]["beta"] = beta
    settings = parse(raw)
    view = {name: getattr(settings, name) for name in TrainSettings.model_fields}
    training = experiment.Training(TrainSettings(**view), dataset)
    for _ in training:
        pass
    return training.learner.model.eval()


def noisy(
    states: Sequence[CurveState], shown: ShownImages, shape: tuple[int, int, int]
) -> tuple[list[CurveState], ShownImages]:
    """Replace the pictures by incompressible noise of `shape`."""
    generator = np.random.default_rng(0)

    def noise(count: int) -> np.ndarray:
        return generator.integers(0, 256, (count, *shape), np.uint8)

    found = [
        replace(s, reconstructions=noise(len(s.reconstructions)), samples=noise(len(s.samples)))
        for s in states
    ]
    return found, replace(shown, originals=noise(len(shown.originals)))
