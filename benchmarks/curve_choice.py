"""The β that a curve recommends against that of 25 separate runs: nll and sample quality at both.

    python benchmarks/curve_choice.py [--data digits conv …] [--seeds 0 1 2] [--samples 64]
                                      [--out benchmarks/results]

Data, nets and lengths are those of benchmarks/curve.py. Each way chooses the least calibrated nll
on validation images; what it chose is measured on test images.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
import trainings
from results import Table, parse_options, write_result
from separate import SeparateTraining

import curve as curves
from vaebalance.curve.chosen_beta import best_of
from vaebalance.curve.curve_training import curve_training
from vaebalance.curve.curves import log_spaced
from vaebalance.curve.trace import CurveRow, measure
from vaebalance.data import Dataset
from vaebalance.settings import CurveSettings
from vaebalance.vae.model import VAE

POINTS = 25
BETAS = log_spaced(curves.LOW, curves.HIGH, POINTS)
Models = dict[float, VAE]
TABLES = {
    "curve_choice": Table(
        {
            "": "{data}, {what}",
            "β": "{β:.2g}",
            "test nll": "{test nll:.1f}",
            "calibrated": "{test calibrated nll:.1f}",
            "Fréchet": "{Fréchet:.1f}",
            "separate run at this β: nll": "{separate run's nll:.1f}",
            "its Fréchet": "{separate run's Fréchet:.1f}",
        },
        by=("data", "what"),
    )
}


def grid(settings: CurveSettings, dataset: Dataset) -> Models:
    """Train a plain VAE for each β, all equally long."""
    spec = settings.curve.replace(factor=1.0)
    training = SeparateTraining(settings.replace(curve=spec), dataset, BETAS)
    for _ in training:
        pass
    return {beta: training.curve.model_at(beta) for beta in BETAS}


def along(settings: CurveSettings, dataset: Dataset) -> Models:
    """Return the curve's models at the same β."""
    training = curve_training(settings, dataset)
    for _ in training:
        pass
    return {beta: training.curve.model_at(beta) for beta in BETAS}


def chosen(
    models: Models, dataset: Dataset, settings: CurveSettings, samples: int
) -> tuple[CurveRow, CurveRow]:
    """Choose on validation images, and measure the choice on test images."""
    cheap = settings.evaluate.replace(nll_samples=samples, sample_images=0)
    whole = settings.evaluate.replace(nll_samples=samples)
    rows = [measure(m, b, dataset, "validation", cheap, 0) for b, m in models.items()]
    best = best_of(rows)
    return best, measure(models[best.beta], best.beta, dataset, "test", whole, 0)


def compare(kind: str, seed: int, samples: int) -> list[dict[str, Any]]:
    """Measure a row for the grid, each method, and the grid's model at each method's β."""
    dataset = trainings.data("mnist" if kind == "conv" else kind, **curves.DATA[kind])
    rows: list[dict[str, Any]] = []
    alone: Models = {}
    for what in (f"{POINTS} separate runs", "film_spline", "continuation"):
        method = curves.METHODS.get(what, curves.METHODS["continuation"])
        method = method | ({"points": POINTS} if what == "continuation" else {})
        settings = curves.settings_of(kind, method, None, seed)
        trainings.say(f"{kind}, seed {seed}: {what}")
        started = trainings.cost_clock()
        models = along(settings, dataset) if what in curves.METHODS else grid(settings, dataset)
        seconds = trainings.cost_clock() - started
        alone = alone or models
        validation, test = chosen(models, dataset, settings, samples)
        same = measure(alone[test.beta], test.beta, dataset, "test", settings.evaluate, 0)
        rows.append(
            {
                "data": kind,
                "seed": seed,
                "what": what,
                "s": seconds,
                "β": test.beta,
                "validation calibrated nll": validation.calibrated_nll,
                "test nll": test.nll,
                "test calibrated nll": test.calibrated_nll,
                "its standard error": test.calibrated_nll_standard_error,
                "Fréchet": test.sample_frechet,
                "precision": test.sample_precision,
                "recall": test.sample_recall,
                "separate run's nll": same.nll,
                "separate run's Fréchet": same.sample_frechet,
            }
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=curves.SCALES, default=["digits", "conv"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=64, help="K of the nll")
    options = parse_options(parser)
    torch.set_num_threads(1)
    rows = []
    for kind in options.data:
        for seed in options.seeds:
            rows += compare(kind, seed, options.samples)
            write_result("curve_choice", rows, options.out)
    print(trainings.table(rows))


if __name__ == "__main__":
    main()
