"""What conditioning costs: a step of a conditioned model against one of the plain model.

    python benchmarks/conditioning_step.py [--rounds 40] [--out benchmarks/results]

One process, one thread, taking turns, compiled and not: medians of the ratio, round by round
paired, and the parameters that FiLM adds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import trainings
from results import parse_options, write_result
from separate import PlainTraining

import curve
from vaebalance.curve.curve_training import AbstractCurveTraining, curve_training
from vaebalance.data import Dataset
from vaebalance.settings import CurveSettings

STEPS = 5  # a round
GROUPS = (1, 8)


def contestants(kind: str, dataset: Dataset, compile: str) -> dict[str, AbstractCurveTraining]:
    """Build the plain model, and conditioned ones by images that share a β."""

    def settings_of(method: dict[str, Any]) -> CurveSettings:
        found = curve.settings_of(kind, method, None, seed=0)
        return found.replace(train=found.train.replace(compile=compile).model_dump())

    plain = settings_of(curve.METHODS["continuation"])
    found: dict[str, AbstractCurveTraining] = {"plain": PlainTraining(plain, dataset, beta=1.0)}
    for group in GROUPS:
        settings = settings_of(curve.METHODS["film_spline"] | {"group": group})
        found[f"film_spline, group {group}"] = curve_training(settings, dataset)
    return found


def seconds(training: AbstractCurveTraining, x: torch.Tensor) -> float:
    """Of a step."""
    started = time.perf_counter()
    for step in range(STEPS):
        training._step(step, x)
    return (time.perf_counter() - started) / STEPS


def measure(kind: str, compile: str, rounds: int) -> list[dict[str, Any]]:
    """Measure a row for each contestant; `compile` as in params.yaml."""
    few = {"max_images": 1000} if kind in ("mnist", "conv") else {}
    dataset = trainings.data("mnist" if kind == "conv" else kind, **(curve.DATA[kind] | few))
    trainings_ = contestants(kind, dataset, compile)
    batch = curve.settings_of(kind, {}, None, seed=0).train.batch_size
    x = dataset.images("train")[:batch]
    times: dict[str, list[float]] = {name: [] for name in trainings_}
    for _ in range(rounds + 1):
        for name, training in trainings_.items():
            times[name].append(seconds(training, x))
    plain = times["plain"][1:]  # one warms up
    parameters = {
        name: sum(p.numel() for p in training.model.parameters())
        for name, training in trainings_.items()
    }
    return [
        {
            "data": kind,
            "compile": compile,
            "what": name,
            "ms a step": 1000 * statistics.median(own[1:]),
            "of the plain one's": statistics.median(
                a / b for a, b in zip(own[1:], plain, strict=True)
            ),
            "parameters": parameters[name],
            "added %": 100 * (parameters[name] / parameters["plain"] - 1),
        }
        for name, own in times.items()
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--data", nargs="+", choices=curve.SCALES, default=list(curve.SCALES))
    options = parse_options(parser)
    torch.set_num_threads(1)
    ways = [(kind, compile) for kind in options.data for compile in ("off", "on")]
    rows = [row for way in ways for row in measure(*way, options.rounds)]
    print(trainings.table(rows))
    write_result("conditioning_step", rows, options.out)


if __name__ == "__main__":
    main()
