"""The whole trade-off from one training against eight separate ones, side by side.

    python benchmarks/curve.py [--data digits mnist …] [--seeds 0 1 2]
                               [--methods film_spline continuation …] [--epochs E] [--images N]
                               [--longer] [--budget] [--out benchmarks/results]

digits: 1,251 images of 8×8, the net of params.yaml. mnist: 784-256-256-32 ReLU, dynamic
binarisation, batch 128 (torchvision's layout in $VAEBALANCE_MNIST or ../shared/data). conv: the
same images, fewer of them, conv 16-32-128. sprites: 3,686 drawn
sprites of 32×32, the same net, 10 latents.
A separate run is a plain VAE at one β, trained as the curve is: Adam, cosine decay, no early
stopping. The eight of a length are trained at once, as one stack, each to what it comes to alone;
what one costs is measured of one alone. Gap: the β-weighted loss of the curve's model over the
separate run's, minus one, on test images. Costs are in seconds of the processor, one thread, since
wall time tells what else the machine does; on a CUDA device in seconds of the clock.
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import Any

import torch
import trainings
from results import Table, parse_options, write_result
from separate import PlainTraining, SeparateTraining

from vaebalance.curve.curve_training import FIRST_SHARE, curve_training
from vaebalance.curve.curves import AbstractCurve, log_spaced
from vaebalance.data import Dataset
from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nll
from vaebalance.evaluation.measured_images import MeasuredImages, measured_images
from vaebalance.objectives.frontier import hypervolume
from vaebalance.settings import CurveSettings, parse, read_yaml
from vaebalance.vae.model import VAE

LOW, HIGH, RUNS = 0.01, 10.0, 8
BETAS = log_spaced(LOW, HIGH, RUNS)
METHODS: dict[str, dict[str, Any]] = {
    "film_spline": {"method": "conditioned", "conditioning": {"kind": "film_spline"}},
    "film_mlp": {"method": "conditioned", "conditioning": {"kind": "film_mlp"}},
    "concatenation": {"method": "conditioned", "conditioning": {"kind": "concatenation"}},
    "multi_rate": {"method": "conditioned", "conditioning": {"kind": "multi_rate"}},
    "continuation": {"method": "continuation", "factor": 2.0},
}
SMALL_CONV = {"kind": "conv", "channels": [16, 32], "hidden": [128]}
SCALES: dict[str, dict[str, Any]] = {
    "digits": {
        "model": {"latent_size": 8},
        "train": {"epochs": 100},
        "curve": {"factor": 1.7},  # conditioned, since a conditioned step costs most here
    },
    "mnist": {
        "model": {
            "latent_size": 32,
            "architecture": {"kind": "mlp", "hidden": [256, 256], "activation": "relu"},
        },
        "train": {"epochs": 14, "batch_size": 128},
    },
    "conv": {
        "model": {"latent_size": 32, "architecture": SMALL_CONV},
        "train": {"epochs": 10, "batch_size": 128},
    },
    "sprites": {
        "model": {"latent_size": 10, "architecture": SMALL_CONV},
        "train": {"epochs": 30, "batch_size": 64},
    },
}
"""MNIST: 14 epochs of 54,000 images in batches of 128 are 5,908 steps."""
DATA: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {"max_images": None, "binarisation": "dynamic"},
    "conv": {"max_images": 12_000, "binarisation": "dynamic"},
    "sprites": {"source": {"kind": "sprites", "size": 32}},
}
"""How the data differ from those of params.yaml."""
BUDGET = 2.5 / RUNS
"""Of a separate run's length, where all of them together may cost as much as a curve."""
TABLES = {
    "curve": Table(
        {
            "": "{data}, {what}",
            "cost, of one run": "{cost, of one run:.1f}",
            "hypervolume": "{hypervolume ratio:.2f}",
            "β-weighted loss, mean": "{mean gap % to 1×:+.1f} %",
            "at the worst β": "{worst gap % to 1×:+.1f} %",
            "best nll": "{best nll:.1f}",
        },
        by=("data", "what"),
    )
}


def settings_of(kind: str, method: dict[str, Any], epochs: int | None, seed: int) -> CurveSettings:
    """params.yaml with the scale and the method over it."""
    raw = read_yaml(trainings.ROOT / "params.yaml") | {"seed": seed}
    raw["curve"] |= {"low": LOW, "high": HIGH, "points": RUNS, "factor": 2.0}
    for name, section in SCALES[kind].items():
        raw[name] = raw[name] | section
    if epochs is not None:
        raw["train"]["epochs"] = epochs
    raw["likelihood"] = {"kind": "bernoulli"}
    raw["curve"] |= method
    found = parse(raw)
    return CurveSettings.model_validate(
        {name: getattr(found, name) for name in CurveSettings.model_fields}
    )


def separate(settings: CurveSettings, dataset: Dataset, factor: float) -> list[VAE]:
    """Train a plain VAE for each β, for `factor` times the epochs."""
    curve = settings.curve.replace(factor=factor)
    training = SeparateTraining(settings.replace(curve=curve), dataset, BETAS)
    for _ in training:
        pass
    return [training.curve.model_at(beta) for beta in BETAS]


def cost_of_one(settings: CurveSettings, dataset: Dataset, factor: float) -> float:
    """Seconds of one such training alone."""
    started = trainings.cost_clock()
    for _ in PlainTraining(
        settings.replace(curve=settings.curve.replace(factor=factor)), dataset, beta=1.0
    ):
        pass
    return trainings.cost_clock() - started


def trained(settings: CurveSettings, dataset: Dataset) -> tuple[AbstractCurve, float]:
    """Train a curve; return it with its seconds."""
    started = trainings.cost_clock()
    training = curve_training(settings, dataset)
    for _ in training:
        pass
    return training.curve, trainings.cost_clock() - started


def terms_of(models: list[VAE], test: MeasuredImages) -> list[tuple[float, float]]:
    """(D, R) of each."""
    parts = [elbo_parts(m, test, samples=8, batch_size=4096, seed=0) for m in models]
    return [(p.distortion, p.rate) for p in parts]


def best_nll(models: list[VAE], test: MeasuredImages, samples: int) -> tuple[float, float]:
    """Find the least importance-weighted nll, and its β."""
    cost = {"batch_size": 4096, "seed": 0}
    found = [importance_weighted_nll(m, test, samples=samples, **cost).mean for m in models]
    least = min(found)
    return least, BETAS[found.index(least)]


def gaps(terms: list[tuple[float, float]], against: list[tuple[float, float]]) -> list[float]:
    """At each β, in percent."""
    return [
        100 * ((d + beta * r) / (d0 + beta * r0) - 1)
        for beta, (d, r), (d0, r0) in zip(BETAS, terms, against, strict=True)
    ]


def compare(kind: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a row for the separate runs and one for each method."""
    changes = DATA[kind] | ({} if options.images is None else {"max_images": options.images})
    dataset = trainings.data("mnist" if kind == "conv" else kind, **changes)
    test = measured_images(dataset, "test", seed=0)
    base = settings_of(kind, METHODS["continuation"], options.epochs, seed)
    rows: list[dict[str, Any]] = []
    references: dict[str, list[tuple[float, float]]] = {}
    alone = RUNS * cost_of_one(base, dataset, 1.0)
    factors = {"1×": 1.0}
    factors |= {"2×": 2.0} if options.longer else {}
    factors |= {"same budget": BUDGET} if options.budget else {}
    for name, factor in factors.items():
        seconds = alone if factor == 1.0 else RUNS * cost_of_one(base, dataset, factor)
        models = separate(base, dataset, factor)
        references[name] = terms_of(models, test)
        title = f"{RUNS} separate runs, {name}"
        rows.append(row_of(title, models, references, alone, seconds, test, options.samples))
    for name in options.methods:
        trainings.say(f"{kind}, seed {seed}: {name}")
        curve, seconds = trained(settings_of(kind, METHODS[name], options.epochs, seed), dataset)
        models = [curve.model_at(beta) for beta in BETAS]
        rows.append(row_of(name, models, references, alone, seconds, test, options.samples))
    return [{"data": kind, "seed": seed} | row for row in rows]


def row_of(
    name: str,
    models: list[VAE],
    references: dict[str, list[tuple[float, float]]],
    alone: float,
    seconds: float,
    test: MeasuredImages,
    samples: int,
) -> dict[str, Any]:
    """One way to have the curve, beside the separate runs of one length (and of two)."""
    terms = terms_of(models, test)
    first = references["1×"]
    corner = (1.02 * max(d for d, _ in first), 1.02 * max(r for _, r in first))
    nll, beta = best_nll(models, test, samples)
    row: dict[str, Any] = {
        "what": name,
        "seconds": seconds,
        "cost, of one run": RUNS * seconds / alone,
        "cost, of the eight": seconds / alone,
        "hypervolume ratio": hypervolume(terms, corner) / hypervolume(first, corner),
        "best nll": nll,
        "at β": beta,
    }
    for length, reference in references.items():
        found = gaps(terms, reference)
        row |= {
            f"mean gap % to {length}": statistics.mean(found),
            f"worst gap % to {length}": max(found),
            f"worst at β, {length}": BETAS[found.index(max(found))],
        }
        row |= {f"gaps % to {length}": [round(gap, 2) for gap in found]}
    if not all(math.isfinite(value) for pair in terms for value in pair):
        raise ValueError(f"{name}: terms are not finite: {terms}")
    return row


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=SCALES, default=list(SCALES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="of a separate run, instead of the scale's")
    parser.add_argument("--images", type=int, help="of the source, at most")
    parser.add_argument("--samples", type=int, default=64, help="K of the nll")
    parser.add_argument("--longer", action="store_true", help="also runs of twice the length")
    parser.add_argument(
        "--budget", action="store_true", help="also runs that together cost as much as a curve"
    )
    options = parse_options(parser)
    torch.set_num_threads(1)
    rows = []
    for kind in options.data:
        for seed in options.seeds:
            rows += compare(kind, seed, options)
            write_result("curve", rows, options.out)  # what is there, is kept
    shown = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
    print(trainings.table(shown))
    print(f"\na sweep spends {FIRST_SHARE:.0%} of its steps at its least β")


if __name__ == "__main__":
    main()
