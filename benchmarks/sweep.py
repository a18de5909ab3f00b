"""Eight β from 0.01 to 10 with one net: every metric, and whether the known shape holds.

    python benchmarks/sweep.py [--epochs 13] [--samples 256] [--out benchmarks/results]

MNIST, 784-256-256-32, dynamic binarisation, batch 128, Adam 1e-3: the net of the measurements that
vaebalance was begun with. MNIST is torchvision's layout in $VAEBALANCE_MNIST or ../shared/data.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import trainings
from results import parse_options, write_result

from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.metrics import rows
from vaebalance.evaluation.stage import evaluate

BETAS = tuple(float(f"{0.01 * 10 ** (3 * step / 7):.3g}") for step in range(8))
NET = {
    "model": {"latent_size": 32, "architecture": {"kind": "mlp", "hidden": [256, 256]}},
    "likelihood": {"kind": "bernoulli"},
}
Values = list[float]


def falls(values: Values) -> bool:
    """From each β to the next."""
    return all(a > b for a, b in pairwise(values))


def rises(values: Values) -> bool:
    """From each β to the next."""
    return all(a < b for a, b in pairwise(values))


def comes_to_nothing(values: Values) -> bool:
    """Return whether the last is under a twentieth of the first."""
    return abs(values[-1]) < 0.05 * abs(values[0])


def best_near_one(values: Values) -> bool:
    """Return whether the least is at one of the two β nearest to 1."""
    nearest = sorted(BETAS, key=lambda beta: abs(beta - 1))[:2]
    return BETAS[values.index(min(values))] in nearest


def best_above_the_bounds(values: Values, bounds: Values) -> bool:
    """Return whether the least is at a larger β than that of the bound."""
    return values.index(min(values)) > bounds.index(min(bounds))


SHAPE: dict[str, tuple[str, Callable[[Values], bool]]] = {
    "the rate falls": ("test/rate", falls),
    "the distortion rises": ("test/distortion", rises),
    "held-out marginal KL → 0": ("latents/held_out_marginal_kl", comes_to_nothing),
    "active units fall": ("latents/active_units", lambda v: v == sorted(v, reverse=True)),
    "negative ELBO is best near β = 1": ("test/negative_elbo", best_near_one),
}


def main() -> None:
    """Train, evaluate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=13)
    parser.add_argument("--samples", type=int, default=256)
    options = parse_options(parser)
    dataset = trainings.data("mnist", max_images=None, binarisation="dynamic")
    spec = EvaluateSpec(
        nll_samples=options.samples,
        batch_size=4096,
        active_threshold=0.01,
        latent_samples=10_000,
        sample_images=10_000,
        inception_weights=None,
    )
    found: dict[str, Values] = {}
    names: dict[str, str] = {}
    for beta in BETAS:
        balance = {"kind": "fixed", "alpha": 1.0, "beta": beta}
        train = {"epochs": options.epochs, "batch_size": 128, "patience": None}
        settings = trainings.settings_of(NET, {"balance": balance, "train": train})
        training, seconds = trainings.train(dataset, settings)
        model = training.learner.model
        model.load_state_dict(training.best_weights)
        evaluation = evaluate(model.eval(), dataset, spec, seed=0)
        for row in rows(evaluation.to_json()):
            if row.value is not None:
                found.setdefault(row.key, []).append(row.value)
                names[row.key] = row.measure.name
        spent = sum(evaluation.seconds.values())
        trainings.say(f"β = {beta:g}: {seconds:.0f} s of training, {spent:.0f} s of evaluation")
    table: list[dict[str, Any]] = [
        {"metric": f"{names[key]} ({key})"}
        | {f"β {beta:g}": value for beta, value in zip(BETAS, values, strict=True)}
        for key, values in found.items()
    ]
    print(trainings.table(table))
    write_result("sweep", table, options.out)
    for claim, (key, holds) in SHAPE.items():
        print(f"{claim}: {'holds' if holds(found[key]) else 'DOES NOT HOLD'}")
    later = best_above_the_bounds(found["samples/own/frechet"], found["test/negative_elbo"])
    print(f"sample quality is best at a higher β: {'holds' if later else 'DOES NOT HOLD'}")


if __name__ == "__main__":
    main()
