"""What the measurements of training share: data, settings, and a training's numbers as a row."""

from __future__ import annotations

import copy
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vaebalance.base.verdicts import names
from vaebalance.data import Dataset, open_dataset, prepare
from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nll
from vaebalance.evaluation.diagnosis import implied_sigma
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.evaluation.posterior_moments import active_units, posterior_moments
from vaebalance.run.training_run import Training
from vaebalance.settings import TrainSettings, parse, read_yaml

ROOT = Path(__file__).resolve().parents[1]
MNIST = Path(os.environ.get("VAEBALANCE_MNIST", ROOT.parent / "shared/data"))
"""A folder with torchvision's MNIST in it."""

Sections = dict[str, Any]
"""Sections of params.yaml that differ from the file; `model` and `train` are merged into its."""

SCALES: dict[str, Sections] = {
    "digits": {"train": {"epochs": 100}, "model": {"latent_size": 8}},
    "mnist": {
        "train": {"epochs": 10, "batch_size": 128},
        "model": {"latent_size": 20, "architecture": {"kind": "mlp", "hidden": [400]}},
    },
}
"""Settings for a data set: 1,251 embedded digits of 8×8, and some 9,000 MNIST images."""


def data(kind: str, **changes: Any) -> Dataset:
    """Prepare the source in a temporary folder; MNIST with 10,000 images for train and validation.

    (The folder is left to the system: the images may be memory-mapped as long as Python runs.)
    """
    raw = read_yaml(ROOT / "params.yaml")
    raw["data"]["source"] = {"kind": kind}
    if kind == "mnist":
        raw["data"] |= {"root": str(MNIST), "max_images": 10_000}
    raw["data"] |= changes
    folder = Path(tempfile.mkdtemp(prefix="vaebalance-")) / "prepared"
    settings = parse(raw)
    prepare(settings.data, settings.seed, folder)
    return open_dataset(folder)


def settings_of(*layers: Sections, seed: int = 0) -> TrainSettings:
    """params.yaml with the sections of the layers over it, the last one on top."""
    raw = copy.deepcopy(read_yaml(ROOT / "params.yaml")) | {"seed": seed}
    for layer in layers:
        for name, section in layer.items():
            merged = name in ("model", "train")
            raw[name] = raw[name] | section if merged else section
    settings = parse(raw)
    return TrainSettings.model_validate(
        {name: getattr(settings, name) for name in TrainSettings.model_fields}
    )


def train(dataset: Dataset, settings: TrainSettings) -> tuple[Training, float]:
    """Train to the end; return the training with the seconds of its steps."""
    training = Training(settings, dataset)
    for _ in training:
        pass
    return training, sum(epoch.seconds for epoch in training.history)


def row_of(
    training: Training, seconds: float, dataset: Dataset, samples: int, images: int
) -> dict[str, Any]:
    """Measure the kept epoch's model on the first test images, in nats per image."""
    model = training.learner.model
    model.load_state_dict(training.best_weights)
    model.eval()
    test = measured_images(dataset, "test", seed=0)
    test = type(test)(test.stored[:images], test.binarisation, test.seed)
    cost = {"batch_size": 4096, "seed": 0}
    parts = elbo_parts(model, test, samples=8, **cost)
    is_density = model.likelihood.is_density
    nll = importance_weighted_nll(model, test, samples=samples, **cost).mean if is_density else None
    moments = posterior_moments(model, test, batch_size=4096)
    sigma = implied_sigma(training.context, training.best)
    return {
        "D": parts.distortion,
        "R": parts.rate,
        "D + R": parts.negative_elbo if is_density else training.best.validation.negative_elbo,
        "nll": nll,
        "active": int(active_units(moments, 0.01).sum()),
        "implied sigma": sigma,
        "RMSE": training.best.posterior_stats.rmse,
        "verdict": names(training.verdicts),
        "seconds": seconds,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header)]
    lines += [[_cell(row.get(name)) for name in header] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def say(text: str) -> None:
    """On stderr: what is going on."""
    print(text, file=sys.stderr, flush=True)


def clock() -> float:
    """Seconds."""
    return time.perf_counter()


def cost_clock() -> float:
    """Seconds that the processor has worked for this process; with a CUDA device, of the clock."""
    import torch

    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        digits = 4 if math.isfinite(value) and abs(value) >= 1 else 3
        return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
