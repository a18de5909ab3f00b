"""Whether bf16 or compiling harms: the same trainings in each way, five seeds each.

    python benchmarks/precision.py [--data mnist conv] [--seeds 5] [--epochs E]
                                   [--out benchmarks/results]

Each kept model is measured in float32 on 2,000 test images. A way does no harm where its mean lies
within the spread over seeds of float32's, not compiled. The last columns are of the differences to
that training of the same seed, which has the same batches and the same noise: mean and standard
error.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import trainings
from results import parse_options, write_result

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


WAYS = (("fp32", "off"), ("bf16", "off"), ("fp32", "on"), ("bf16", "on"))
"""Precision, and whether it is compiled; the first is what the others are compared with."""


def train_all(
    kind: str, precision: str, compile: str, seeds: int, changes: dict[str, Any]
) -> list[dict[str, Any]]:
    """Measure a row for each seed."""
    dataset = trainings.data("mnist", binarisation="dynamic")
    found = []
    for seed in range(seeds):
        how = {"precision": precision, "compile": compile, "patience": None}
        layer = {"train": how | changes}
        scale = trainings.SCALES["mnist"]
        settings = trainings.settings_of(
            scale, NETS[kind], layer, {"likelihood": {"kind": "bernoulli"}}, seed=seed
        )
        started = time.process_time()
        training, _ = trainings.train(dataset, settings)
        seconds = time.process_time() - started
        row = trainings.row_of(training, seconds, dataset, samples=128, images=2000)
        found.append(row | {"seconds": seconds})
        trainings.say(f"{kind}, {precision}, compile {compile}, seed {seed}: {row}")
    return found


def summary(found: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, Any]:
    """Means, standard deviations over seeds, and what differs from `base`."""
    table: dict[str, Any] = {}
    for name in NUMBERS:
        values = [row[name] for row in found]
        table |= {name: statistics.mean(values), f"{name} ±": statistics.stdev(values)}
    table["CPU s, median"] = statistics.median(row["seconds"] for row in found)
    for name in ("D + R", "nll"):
        gaps = [row[name] - other[name] for row, other in zip(found, base, strict=True)]
        error = statistics.stdev(gaps) / len(gaps) ** 0.5
        table[f"Δ {name}"] = f"{statistics.mean(gaps):+.3f} ± {error:.3f}"
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="instead of the scale's 10")
    options = parse_options(parser)
    torch.set_num_threads(1)
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    rows = []
    for kind in options.data:
        found = {way: train_all(kind, *way, options.seeds, changes) for way in WAYS}
        for (precision, compile), each in found.items():
            names = {"data": kind, "precision": precision, "compile": compile}
            rows.append(names | summary(each, found[WAYS[0]]))
    print(trainings.table(rows))
    write_result("precision", rows, options.out)


if __name__ == "__main__":
    main()
