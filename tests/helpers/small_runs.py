"""Small runs of every kind, trained and evaluated."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaebalance.base.provenance import make_provenance
from vaebalance.base.verdicts import write_verdicts
from vaebalance.data import open_dataset, prepare
from vaebalance.evaluation.diagnosis import diagnose_trained
from vaebalance.evaluation.results import write
from vaebalance.evaluation.stage import evaluate
from vaebalance.pages.report.build import build
from vaebalance.pages.report.inputs import Inputs, read_inputs
from vaebalance.run import training_run as experiment
from vaebalance.settings import ReportSpec, TrainSettings, parse, read_yaml
from vaebalance.vae.saved_model import load_model

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
SPEC = ReportSpec(
    images=6, traversal_steps=5, manifold_steps=4, interpolations=2, scatter_images=60
)
HOSTILE = [
    "<script>window.hacked = 1<",
    "{{ 7 * 7 }} & \"double\" 'single' `back`",
    "😀 " + "very long " * 20,
    "${window.hacked = 2}",
    "var(--ink)",
    "class 5",
    "class 6",
    "class 7",
    "class 8",
    "class 9",
    "class 10",
    "class 11",
]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two_latents": {
        "model.latent_size": 2,
        "likelihood": {"kind": "rmse"},
        "balance": {"kind": "warm_up", "alpha": 100.0, "beta": 1.0, "steps": 10},
    },
    "penalty": {"penalty": {"kind": "total_correlation", "weight": 3.0}},
    "autoencoder": {"model.posterior": "deterministic"},
    "one_latent": {"model.latent_size": 1, "data.binarisation": "dynamic", "balance.beta": 0.0},
    "collapsed": {"train.learning_rate": 0.3},  # one code for all images
    "collapsed_autoencoder": {"train.learning_rate": 0.3, "model.posterior": "deterministic"},
    "hostile": {
        "data.source": {"kind": "image_folder", "size": 12},
        "data.max_images": None,
        "data.test_fraction": 0.4,
        "likelihood": {"kind": "gaussian", "sigma": 0.3},
        "balance.beta": 4.0,
    },
}


@dataclass(frozen=True)
class Run:
    """A project folder after the evaluate stage."""

    root: Path
    spec: ReportSpec = SPEC

    def inputs(self) -> Inputs:
        return read_inputs(self.root)

    def report(self, name: str = "report") -> Path:
        """Build the report and return its page."""
        return build(self.inputs(), self.spec, 0, self.root / name)


def make_run(root: Path, changes: dict[str, Any]) -> Run:
    """Prepare, train briefly and evaluate."""
    raw = copy.deepcopy(read_yaml(PARAMS))
    quick = {
        "data.max_images": 300,
        "data.workers": 1,
        "model.architecture.hidden": [32],
        "model.latent_size": 4,
        "train.epochs": 12,
        "train.device": "cpu",
        "evaluate.nll_samples": 4,
    }
    for path, value in (quick | changes).items():
        *parents, name = path.split(".")
        section = raw
        for parent in parents:
            section = section[parent]
        section[name] = value
    settings = parse(raw)
    prepare(settings.data, settings.seed, root / "data/prepared")
    dataset = open_dataset(root / "data/prepared")
    view = {name: getattr(settings, name) for name in TrainSettings.model_fields}
    training = experiment.Training(TrainSettings(**view), dataset)
    for _ in training:
        pass
    params = TrainSettings(**view).model_dump(mode="json")
    provenance = make_provenance(params, asdict(dataset.info), "no code")
    experiment.save(training, provenance, root / "artifacts", root / "metrics/train.json")
    model = load_model(root / "artifacts/model")
    found = evaluate(model, dataset, settings.evaluate, settings.seed)
    write(found, root / "metrics/evaluation.json", root / "artifacts/evaluation")
    write_verdicts(root / "artifacts/verdicts.json", diagnose_trained(root / "artifacts"))
    return Run(root)


def draw_pictures(folder: Path) -> None:
    """Write colour pictures of blobs to folders with odd names, some without a label."""
    generator = np.random.default_rng(0)
    for number, name in enumerate([*HOSTILE, ""]):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(6):
            pixels = np.full((12, 12, 3), (20 * number, 255 - 20 * number, 80), np.uint8)
            x, y = generator.integers(0, 8, 2)
            pixels[y : y + 4, x : x + 4] = generator.integers(0, 255, 3)
            Image.fromarray(pixels).save(folder / name / f"{number}-{index}.png")
