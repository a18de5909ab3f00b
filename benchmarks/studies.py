"""Studies beside a dense grid: what they choose, after how many trials, at what cost.

    python benchmarks/studies.py [--data digits mnist] [--seeds 3] [--out benchmarks/results]

A grid of 25 β from 0.01 to 10 for each seed, every objective measured at each point; then studies
of 20 trials by the project's own search, the seed of the training being the study's. Trials neither
touch MLflow nor the study's table, so the seconds are those of training and measuring.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import trainings
from results import SCRATCH, parse_options, write_result

from vaebalance.base.files import write_json
from vaebalance.base.reports import EpochReport
from vaebalance.data import Dataset
from vaebalance.objectives.frontier import distortion_at_rate_zero, hypervolume, knee
from vaebalance.objectives.objectives import AbstractObjective
from vaebalance.run.training_run import Training
from vaebalance.settings import Settings, parse, read_yaml
from vaebalance.study.results.choice import chosen, terms
from vaebalance.study.search.knobs import current_point, search_space, with_values
from vaebalance.study.search.pruning import PrunedError, Reading, rungs
from vaebalance.study.search.search import Attempt, Plan, Search
from vaebalance.study.search.trial import Evaluator
from vaebalance.study.storage.journal import Journal
from vaebalance.study.trials import Trial

BETA = "balance.beta"
LOW, HIGH, GRID, TRIALS = 0.01, 10.0, 25, 20
BETAS = [float(f"{LOW * (HIGH / LOW) ** (step / (GRID - 1)):.4g}") for step in range(GRID)]
OBJECTIVES: dict[str, dict[str, Any]] = {
    "nll": {"kind": "nll"},
    "negative_elbo": {"kind": "negative_elbo"},
    "frontier": {"kind": "frontier"},
    "constrained": {"kind": "constrained"},  # the target: see `TARGET`
    "samples": {"kind": "metric", "name": "samples/own/frechet"},
}
TARGET = {"digits": 0.17, "mnist": 0.15}
"""RMSE, pixel values."""
SCALES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "batch_size": 64, "latent_size": 8, "hidden": [256]},
    "mnist": {"epochs": 10, "batch_size": 128, "latent_size": 20, "hidden": [400]},
}
SAMPLERS = ("gp", "tpe", "quasi_random")


class Silent:
    """A listener that shows nothing."""

    def started(self, trial: Trial) -> None:
        """Nothing."""

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """Nothing."""

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def settings_for(data: str, objective: str, seed: int, **tune: Any) -> Settings:
    """params.yaml on that data, with that objective and seed."""
    scale = SCALES[data]
    raw = read_yaml(trainings.ROOT / "params.yaml") | {"seed": seed}
    raw["data"]["source"] = {"kind": data}
    raw["model"] |= {
        "latent_size": scale["latent_size"],
        "architecture": {"kind": "mlp", "hidden": scale["hidden"]},
    }
    raw["train"] |= {key: scale[key] for key in ("epochs", "batch_size")}
    raw["train"] |= {"patience": None, "device": "cpu"}
    asked = dict(OBJECTIVES[objective])
    if objective == "constrained":
        asked["rmse"] = TARGET[data]
    raw["tune"] |= {"objective": asked, "space": {BETA: {"low": LOW, "high": HIGH, "log": True}}}
    raw["tune"] |= {"trials": TRIALS, **tune}
    return parse(raw)


def evaluator(settings: Settings, dataset: Dataset) -> Evaluator:
    """Measure what the settings ask."""
    return Evaluator(settings.tune.objective, dataset, settings.evaluate, settings.seed)


def grid(data: str, dataset: Dataset, seed: int) -> list[dict[str, Any]]:
    """Every objective of a training at each β; seconds of each part."""
    asked = {name: settings_for(data, name, seed) for name in OBJECTIVES}
    rows = []
    for beta in BETAS:
        began = trainings.clock()
        training = Training(with_values(asked["nll"], {BETA: beta}), dataset)
        list(training)
        row: dict[str, Any] = {"beta": beta, "training": trainings.clock() - began}
        for name, settings in asked.items():
            began = trainings.clock()
            outcome = evaluator(settings, dataset).outcome(training)
            row[f"{name} seconds"] = trainings.clock() - began
            row[name] = {"values": outcome.values, "violation": outcome.violation}
            row |= {k: outcome.results[k] for k in ("distortion", "rate")}
            if name == "nll":
                row["nll error"] = outcome.results["nll_standard_error"]
        rows.append(row)
    return rows


class OneByOne:
    """Trains trials one by one, without MLflow."""

    size = 1

    def __init__(self, settings: Settings, dataset: Dataset, search: Search) -> None:
        self._settings, self._dataset, self._search = settings, dataset, search
        self._evaluator = evaluator(settings, dataset)
        halving = settings.tune.pruner == "halving"
        self._judged = rungs(settings.train.epochs) if halving else ()
        self.epochs = 0

    def start(self, trials: Sequence[Trial]) -> tuple[list[dict[int, Attempt]], None]:
        """See `search.Trainer`."""
        return [{trial.number: self._attempt(trial)} for trial in trials], None

    def _attempt(self, trial: Trial) -> Attempt:
        training = Training(with_values(self._settings, trial.point), self._dataset)
        for report in training:
            if isinstance(report, EpochReport):
                self.epochs += 1
                self._judge(trial, training, report.epoch)
                yield
        return self._evaluator.outcome(training)

    def _judge(self, trial: Trial, training: Training, epoch: int) -> None:
        if epoch in self._judged:
            found = self._evaluator.measure(training)
            if self._search.should_stop(trial, epoch, Reading(found.values, found.violation)):
                raise PrunedError


def study(
    data: str, dataset: Dataset, objective: str, seed: int, sampler: str = "gp", **tune: Any
) -> dict[str, Any]:
    """Run a study by the project's own search."""
    settings = settings_for(data, objective, seed, sampler=sampler, **tune)
    better = tuple(goal.better for goal in settings.tune.objective.goals)
    folder = Path(tempfile.mkdtemp(prefix="vaebalance-")) / "study"
    space = search_space(settings)
    plan = Plan(space, sampler, seed, TRIALS, current_point(settings, space), better)
    search = Search(Journal(folder, better), plan)
    trainer = OneByOne(settings, dataset, search)
    began = trainings.clock()
    search.run_until_complete(trainer, Silent())
    seconds, epochs = trainings.clock() - began, trainer.epochs
    trials = search.trials()
    best = chosen(trials, settings.tune.objective)
    return {
        "data": data,
        "objective": objective,
        "sampler": sampler,
        "seed": seed,
        **tune,
        "seconds": seconds,
        "epochs": epochs,
        "chosen": None if best is None else best.point[BETA],
        "chosen values": None if best is None else best.values,
        "trials": [
            {
                "beta": trial.point[BETA],
                "state": trial.state,
                "values": trial.values,
                "violation": trial.violation,
                "terms": None if trial.values is None else terms([trial])[0],
            }
            for trial in trials
        ],
    }


def grid_choice(
    rows: list[dict[str, Any]], objective: str, asked: AbstractObjective
) -> dict[str, Any] | None:
    """Find the grid's best point by the number alone (a frontier: the knee); None: none will do."""
    if objective == "frontier":
        index = knee([(row["distortion"], row["rate"]) for row in rows])
        return None if index is None else rows[index]
    good = [r for r in rows if (r[objective]["violation"] or 0.0) <= 0]
    return min(good, key=lambda r: asked.goals[0].loss(r[objective]["values"][0]), default=None)


def trials_needed(
    found: dict[str, Any],
    rows: list[dict[str, Any]],
    best: dict[str, Any] | None,
    reference: tuple[float, float],
) -> int | None:
    """Trials until within 1% of the grid's best number, or 2% of its hypervolume; None: never."""
    trials = found["trials"]
    if found["objective"] == "frontier":
        bound = 0.98 * hypervolume([(r["distortion"], r["rate"]) for r in rows], reference)
        for count in range(1, len(trials) + 1):
            points = [tuple(t["terms"]) for t in trials[:count] if t["terms"]]
            if hypervolume(points, reference) >= bound:
                return count
        return None
    least = min(r[found["objective"]]["values"][0] for r in rows)
    bound = least + 0.01 * abs(least)
    return next(
        (n for n, t in enumerate(trials, 1) if t["values"] and t["values"][0] <= bound), None
    )


def plans(seeds: int, data: str) -> list[dict[str, Any]]:
    """Which studies: the default on all objectives, samplers and pruner beside it on digits."""
    found: list[dict[str, Any]] = [
        {"objective": name, "seed": seed} for name in ("nll", "frontier") for seed in range(seeds)
    ]
    found += [
        {"objective": name, "seed": 0} for name in ("negative_elbo", "constrained", "samples")
    ]
    found += [
        {"objective": name, "seed": seed, "pruner": "halving"}
        for name in ("nll", "frontier")
        for seed in range(seeds if data == "digits" else 1)
    ]
    if data == "digits":
        found += [
            {"objective": name, "seed": seed, "sampler": sampler}
            for name in ("nll", "frontier")
            for sampler in SAMPLERS[1:]
            for seed in range(seeds)
        ]
    return found


def main() -> None:
    """Run what is not yet in benchmarks/scratch, then print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(SCALES), choices=list(SCALES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parse_options(parser)
    optuna.logging.set_verbosity(logging.WARNING)
    for data in options.data:
        dataset = trainings.data(data)
        path = SCRATCH / f"studies_{data}.json"
        kept = json.loads(path.read_text()) if path.exists() else {"grids": [], "studies": []}
        for seed in range(len(kept["grids"]), options.seeds):
            kept["grids"].append(grid(data, dataset, seed))
            trainings.say(f"{data}: grid of seed {seed}")
            write_json(path, kept)
        wanted = plans(options.seeds, data)
        for plan in wanted[len(kept["studies"]) :]:
            kept["studies"].append(study(data, dataset, **plan))
            last = kept["studies"][-1]
            trainings.say(f"{data}: {plan}: β = {last['chosen']}, {last['seconds']:.0f} s")
            write_json(path, kept)
        for part, rows in report(data, dataset, kept).items():
            print(trainings.table(rows))
            write_result(f"studies-{data}{part}", rows, options.out)


def report(data: str, dataset: Dataset, kept: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Two tables by the ending of their names: the grids, and the studies beside them."""
    points = []
    for index, beta in enumerate(BETAS):
        row: dict[str, Any] = {"β": beta}
        for name in ("nll", "negative_elbo", "samples"):
            values = [one[index][name]["values"][0] for one in kept["grids"]]
            row[name] = " ".join(f"{value:.2f}" for value in values)
        row["D"] = kept["grids"][0][index]["distortion"]
        row["R"] = kept["grids"][0][index]["rate"]
        points.append(row)
    references = []
    for seed in range(len(kept["grids"])):
        settings = settings_for(data, "frontier", seed)
        zero = distortion_at_rate_zero(settings.likelihood, dataset, seed)
        references.append((zero, 100.0))
    table = []
    for found in kept["studies"]:
        rows, reference = kept["grids"][found["seed"]], references[found["seed"]]
        asked = settings_for(data, found["objective"], found["seed"]).tune.objective
        measuring = sum(r["training"] + r[f"{found['objective']} seconds"] for r in rows)
        row = {key: found.get(key) for key in ("objective", "sampler", "pruner", "seed")}
        row["β chosen"] = found["chosen"]
        best = grid_choice(rows, found["objective"], asked)
        row["grid's β"] = best and best["beta"]
        if found["objective"] == "frontier":
            found_terms = [tuple(t["terms"]) for t in found["trials"] if t["terms"]]
            whole = hypervolume([(r["distortion"], r["rate"]) for r in rows], reference)
            row["value"] = hypervolume(found_terms, reference) / whole
            row["grid's"] = 1.0
        else:
            row["value"] = found["chosen values"] and found["chosen values"][0]
            row["grid's"] = best and best[found["objective"]]["values"][0]
        row["trials needed"] = trials_needed(found, rows, best, reference)
        row["pruned"] = sum(t["state"] == "pruned" for t in found["trials"])
        row["epochs"] = found["epochs"]
        row["seconds"], row["grid's seconds"] = found["seconds"], measuring
        table.append(row)
    return {"-grid": points, "": table}


if __name__ == "__main__":
    main()
