"""Controllers held to their targets from both sides, and optimal σ against a grid of fixed σ.

    python benchmarks/targets.py [--epochs 24] [--seeds 3] [--out benchmarks/results]

MNIST, 10,000 images, 784-400-20 (torchvision's layout in $VAEBALANCE_MNIST or ../shared/data).
"From both sides": the controller takes over a model trained for some epochs at a β far too small
(more rate and less distortion than any target), or far too large.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import trainings
from results import parse_options, write_result
from torch import Tensor

from vaebalance.data import Dataset
from vaebalance.evaluation.bounds import elbo_parts
from vaebalance.evaluation.calibration import calibrate
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.run.training_run import Training

BERNOULLI = {"likelihood": {"kind": "bernoulli"}}
DISTORTIONS, RATES = (80.0, 100.0, 130.0), (15.0, 25.0, 40.0)
SIDES = {"from much rate": 0.02, "from little rate": 20.0}
SIGMAS = tuple(round(0.04 * 10 ** (step / 8), 4) for step in range(9))
"""From 0.04 to 0.4 in equal ratios; a reconstruction's RMSE is about 0.12."""


def started_at(dataset: Dataset, beta: float, epochs: int = 5) -> dict[str, Tensor]:
    """Weights after some epochs at a fixed β."""
    fixed = {"balance": {"kind": "fixed", "alpha": 1.0, "beta": beta}, "train": {"epochs": epochs}}
    settings = trainings.settings_of(trainings.SCALES["mnist"], BERNOULLI, fixed)
    return trainings.train(dataset, settings)[0].learner.model.state_dict()


def held(
    dataset: Dataset, balance: dict[str, Any], start: dict[str, Tensor], epochs: int
) -> Training:
    """Train with a balance that takes over from `start`."""
    changed = {"balance": balance, "train": {"epochs": epochs, "patience": None}}
    training = Training(
        trainings.settings_of(trainings.SCALES["mnist"], BERNOULLI, changed), dataset
    )
    training.learner.model.load_state_dict(start)
    for _ in training:
        pass
    return training


def controllers(dataset: Dataset, epochs: int) -> list[dict[str, Any]]:
    """Measure a row for each controller, target and side."""
    starts = {side: started_at(dataset, beta) for side, beta in SIDES.items()}
    cases = [("geco", "distortion", target) for target in DISTORTIONS]
    cases += [("control_vae", "rate", target) for target in RATES]
    rows = []
    for kind, term, target in cases:
        for side, start in starts.items():
            trainings.say(f"{kind} {term} {target:g} {side}")
            training = held(dataset, {"kind": kind, term: target}, start, epochs)
            last = training.history[-1]
            found = getattr(last.train, term)
            rows.append(
                {
                    "rule": kind,
                    "target": f"{term} {target:g}",
                    "side": side,
                    "found": found,
                    "off": f"{found / target - 1:+.2%}",
                    "validation": getattr(last.validation, term),
                    "within 2%": abs(found / target - 1) <= 0.02,
                    "settled since epoch": settled_since(training),
                }
            )
    return rows


def settled_since(training: Training) -> int | None:
    """Find the first epoch from which the controller held its target to the end."""
    since = None
    for epoch in reversed(training.history):
        if not epoch.settled:
            break
        since = epoch.epoch
    return since


def optimal_sigma(dataset: Dataset, epochs: int, seeds: int) -> list[dict[str, Any]]:
    """Measure a row for each σ of the grid and each way to leave σ to maximum likelihood."""
    ones = {"kind": "fixed", "alpha": 1.0, "beta": 1.0}
    cases: dict[str, trainings.Sections] = {
        f"σ = {sigma:g}": {"likelihood": {"kind": "gaussian", "sigma": sigma}, "balance": ones}
        for sigma in SIGMAS
    }
    cases["likelihood gaussian_optimal"] = {"likelihood": {"kind": "gaussian_optimal"}}
    cases["balance optimal_sigma"] = {
        "likelihood": {"kind": "gaussian", "sigma": 0.1},
        "balance": {"kind": "optimal_sigma"},
    }
    rows = []
    for name, sections in cases.items():
        trainings.say(name)
        results = [bounds(dataset, sections, epochs, seed) for seed in range(seeds)]
        own, calibrated, seconds = zip(*results, strict=True)
        rows.append(
            {
                "σ": name,
                "D + R": statistics.mean(own),
                "± over seeds": statistics.stdev(own) if seeds > 1 else None,
                "D + R, σ refitted": statistics.mean(calibrated),
                "± of it": statistics.stdev(calibrated) if seeds > 1 else None,
                "seconds": sum(seconds),
            }
        )
    return rows


def bounds(
    dataset: Dataset, sections: trainings.Sections, epochs: int, seed: int
) -> tuple[float, float, float]:
    """Negative ELBO on test images under the model's own σ, and under one fitted on validation."""
    changed = {"train": {"epochs": epochs}}
    settings = trainings.settings_of(trainings.SCALES["mnist"], sections, changed, seed=seed)
    training, seconds = trainings.train(dataset, settings)
    model = training.learner.model
    model.load_state_dict(training.best_weights)
    model.eval()
    cost = {"batch_size": 4096, "seed": 0}
    gaussian = calibrate(model, measured_images(dataset, "validation", 0), **cost)
    test = measured_images(dataset, "test", 0)
    refitted = elbo_parts(model, test, samples=4, score=gaussian, **cost)
    own = elbo_parts(model, test, samples=4, **cost)
    return own.negative_elbo, refitted.negative_elbo, seconds


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    options = parse_options(parser)
    dataset = trainings.data("mnist")
    rows = controllers(dataset, options.epochs)
    print(trainings.table(rows), flush=True)
    write_result("targets-controllers", rows, options.out)
    rows = optimal_sigma(dataset, options.epochs // 2, options.seeds)
    print(f"\n{trainings.table(rows)}")
    write_result("targets-optimal_sigma", rows, options.out)
    grid, optimal = rows[: len(SIGMAS)], rows[len(SIGMAS) :]
    for way in optimal:
        share = way["seconds"] / sum(row["seconds"] for row in grid)
        print(f"{way['σ']}: {share:.3f} of the grid's training time (1/9 = {1 / 9:.3f})")


if __name__ == "__main__":
    main()
