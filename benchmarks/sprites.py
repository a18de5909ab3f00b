"""Disentanglement of β-VAE on sprites: β = 1 and 4, three seeds, all six scores.

    python benchmarks/sprites.py [--seeds 3] [--epochs 60] [--size 32] [--out benchmarks/results]

4,608 drawn sprites of five factors (shape, scale, orientation, x, y), conv [32, 64], 10 latents,
Bernoulli, batch 64, Adam 5e-4. Locatello et al. 2019 train on 737,280 pictures of 64×64 for
300,000 steps of 64, with 50 seeds.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import trainings
from results import Table, parse_options, write_result

from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.metrics import rows
from vaebalance.evaluation.stage import evaluate

NET = {
    "model": {
        "latent_size": 10,
        "architecture": {"kind": "conv", "channels": [32, 64], "hidden": [256]},
    },
    "likelihood": {"kind": "bernoulli"},
}
BETAS = (1.0, 4.0)
SCORES = ("mig", "dci_disentanglement", "sap", "modularity", "factor_vae", "beta_vae")
NUMBERS = {name: f"{{{name}:.2f}}" for name in ("D", "R", *SCORES)}
TABLES = {"sprites": Table({"β": "{β:g}"} | NUMBERS, by=("β",))}
SPEC = EvaluateSpec(
    nll_samples=16,
    batch_size=512,
    active_threshold=0.01,
    latent_samples=2000,
    sample_images=0,
    inception_weights=None,
)


def main() -> None:
    """Train, score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=32)
    options = parse_options(parser)
    dataset = trainings.data("sprites", source={"kind": "sprites", "size": options.size})
    table: list[dict[str, Any]] = []
    for beta in BETAS:
        for seed in range(options.seeds):
            changed = {
                "balance": {"kind": "fixed", "alpha": 1.0, "beta": beta},
                "train": {"epochs": options.epochs, "learning_rate": 5e-4, "patience": None},
            }
            settings = trainings.settings_of(NET, changed, seed=seed)
            training, seconds = trainings.train(dataset, settings)
            model = training.learner.model
            model.load_state_dict(training.best_weights)
            evaluation = evaluate(model.eval(), dataset, SPEC, seed=seed)
            scores = {
                row.key.removeprefix("disentanglement/"): row.value
                for row in rows(evaluation.to_json())
                if row.key.startswith("disentanglement/")
            }
            test = evaluation.test
            head = {"β": beta, "seed": seed, "D": test.distortion, "R": test.rate}
            table.append(head | scores | {"seconds": seconds})
            trainings.say(str(table[-1]))
    print(trainings.table(table))
    for beta in BETAS:
        chosen = [row for row in table if row["β"] == beta]
        for score in ("mig", "factor_vae"):
            values = [row[score] for row in chosen]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"β = {beta:g}: {score} {statistics.mean(values):.3f} ± {spread:.3f}")
    write_result("sprites", table, options.out)


if __name__ == "__main__":
    main()
