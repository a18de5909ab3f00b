"""Whether bf16 harms: the same trainings in float32 and in bf16, five seeds each.

    python benchmarks/precision.py [--data mnist conv] [--seeds 5] [--epochs E]

Each kept model is measured in float32 on 2,000 test images. A precision is unharmed where its mean
lies within the spread over seeds of the other's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import trainings

NETS: dict[str, trainings.Sections] = {
    "mnist": {},
    "conv": {
        "model": {
            "latent_size": 16,
            "architecture": {"kind": "conv", "channels": [16, 32], "hidden": [128]},
        }
    },
}
NUMBERS = ("D", "R", "D + R", "nll")


def measure(kind: str, precision: str, seeds: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Means and standard deviations over seeds."""
    dataset = trainings.data("mnist", binarisation="dynamic")
    found = []
    for seed in range(seeds):
        layer = {"train": {"precision": precision, "patience": None} | changes}
        scale = trainings.SCALES["mnist"]
        settings = trainings.settings_of(
            scale, NETS[kind], layer, {"likelihood": {"kind": "bernoulli"}}, seed=seed
        )
        started = time.process_time()
        training, _ = trainings.train(dataset, settings)
        seconds = time.process_time() - started
        row = trainings.row_of(training, seconds, dataset, samples=128, images=2000)
        found.append(row | {"seconds": seconds})
        trainings.say(f"{kind}, {precision}, seed {seed}: {row}")
    table: dict[str, Any] = {"data": kind, "precision": precision}
    for name in NUMBERS:
        values = [row[name] for row in found]
        table |= {name: statistics.mean(values), f"{name} ±": statistics.stdev(values)}
    return table | {"CPU s, median": statistics.median(row["seconds"] for row in found)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="instead of the scale's 10")
    options = parser.parse_args()
    torch.set_num_threads(1)
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    rows = [
        measure(kind, precision, options.seeds, changes)
        for kind in options.data
        for precision in ("fp32", "bf16")
    ]
    trainings.write_rows(rows, Path("benchmarks/results/precision.json"))
    print(trainings.table(rows))


if __name__ == "__main__":
    main()
