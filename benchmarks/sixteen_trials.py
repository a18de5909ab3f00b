"""A study of 16 trials over the weight, against 16 runs of the training that everyone writes.

    python benchmarks/sixteen_trials.py [--cases digits mnist conv] [--weight beta] [--rounds 1]
        [--trials 16] [--epochs N] [--images N] [--ways "together auto" …] [--device cpu]

Wall seconds, whole: from a command's start to its end. The naive runs (`naive.py`: torch, numpy and
the loop, a validation pass an epoch) go one after the other, each a process of its own with torch's
default threads, their weights evenly spread on a log scale. A study is `vaebalance study` with its
files, its table and figures, and MLflow's runs, on the same prepared images, with the same net and
as many epochs (patience is off); its objective is D + R, which the naive runs print, too. It
begins anew each time, in a project that has an MLflow store, as after any pipeline. `curve` answers
from one training, measured at the weights of the naive runs (nll by one sample, no prior samples):
of twice the epochs, as in params.yaml, or of fewer; gap: its D + βR over the naive run's at the
same β, minus one, on validation images. Ratios are to the naive runs of the same round; the table
has medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trainings
from results import on_device, parse_options, write_result
from ruamel.yaml import YAML
from study_overhead import study, with_store

from vaebalance.curve.saved_curve import FOLDER as CURVE
from vaebalance.curve.saved_curve import read_rows
from vaebalance.curve.trace import validation_rows
from vaebalance.data import prepare
from vaebalance.settings import PARAMS, parse, read_yaml
from vaebalance.study.storage.journal import Journal

NAIVE = Path(__file__).resolve().parent / "naive.py"
LOW, HIGH = 0.01, 10.0


class Case(NamedTuple):
    """What is trained."""

    source: str
    architecture: dict[str, Any]
    latents: int
    batch_size: int
    epochs: int
    images: int | None  # of each published part; None: all


class Question(NamedTuple):
    """What is asked of each case, and where it is computed."""

    weight: str  # alpha or beta
    trials: int
    device: str


class Terms(NamedTuple):
    """Of a model on validation images, nats per image."""

    distortion: float
    rate: float

    def weighted(self, beta: float) -> float:
        """D + βR."""
        return self.distortion + beta * self.rate


CASES = {
    "digits": Case("digits", {"kind": "mlp", "hidden": [256, 128]}, 8, 64, 100, None),
    "mnist": Case("mnist", {"kind": "mlp", "hidden": [400]}, 20, 128, 10, 10_000),
    "conv": Case(
        "mnist", {"kind": "conv", "channels": [32, 64], "hidden": [256]}, 16, 128, 10, 4_000
    ),
}
GROUPS = {"together": "auto", "sampler": "quasi_random"}
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "one by one": {},
    "workers 2": {"tune": {"workers": 2}},
    "together auto": {"tune": {"together": "auto"}},
    "together auto, workers 2": {"tune": {"together": "auto", "workers": 2}},
    "together auto, quasi_random": {"tune": GROUPS},
    "together auto, quasi_random, workers 2": {"tune": GROUPS | {"workers": 2}},
    "the same in bf16": {"tune": GROUPS | {"workers": 2}, "train": {"precision": "bf16"}},
    "curve": {"tune": {"method": "curve"}},
    "curve, 1.5 × the epochs": {"tune": {"method": "curve"}, "curve": {"factor": 1.5}},
    "curve, as many epochs": {"tune": {"method": "curve"}, "curve": {"factor": 1.0}},
    "curve, compiled": {"tune": {"method": "curve"}, "train": {"compile": "on"}},
}
"""What of the sections differs from params.yaml. (To compile takes seconds at first; torch keeps
what it has compiled.)"""


def settings_of(case: Case, question: Question, way: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """params.yaml with the case and the way in it."""
    raw = read_yaml(trainings.ROOT / "params.yaml")
    raw["data"] |= {"source": {"kind": case.source}, "max_images": case.images}
    raw["data"]["root"] = str(trainings.MNIST)
    raw["model"] |= {"architecture": case.architecture, "latent_size": case.latents}
    raw["train"] |= {"epochs": case.epochs, "batch_size": case.batch_size}
    raw["train"] |= {"patience": None, "device": question.device}
    weight, trials, _ = question
    space = {f"balance.{weight}": {"low": LOW, "high": HIGH, "log": True}}
    raw["tune"] |= {"trials": trials, "space": space, "objective": {"kind": "negative_elbo"}}
    betas = betas_of(weight, trials)
    raw["curve"] |= {"low": betas[0], "high": betas[-1], "points": trials}
    for section, changes in way.items():
        raw[section] |= changes
    if raw["tune"]["method"] == "curve":  # measure of each weight little more than of a trial
        raw["curve"] |= {"nll_samples": 1}
        raw["evaluate"] |= {"sample_images": 0}
    return raw


def project(folder: Path, case: Case) -> None:
    """Make a folder with prepared images and an MLflow store."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (folder / "curve").mkdir()
    (folder / "curve" / "dvc.yaml").write_text("stages: {curve: {deps: []}}\n", encoding="utf-8")
    settings = parse(settings_of(case, Question("beta", 2, "cpu"), {}))
    prepare(settings.data, settings.seed, folder / "data" / "prepared")
    with_store(folder)


def betas_of(weight: str, trials: int) -> list[float]:
    """At α = 1, those of the naive runs: even on a log scale, from low to high."""
    values = [LOW * (HIGH / LOW) ** (trial / (trials - 1)) for trial in range(trials)]
    return values if weight == "beta" else [1 / alpha for alpha in reversed(values)]


def naive_runs(folder: Path, case: Case, question: Question) -> tuple[float, list[Terms]]:
    """Seconds of all runs, and what each came to."""
    weight, trials, device = question
    prepared = folder / "data" / "prepared"
    nets = ["--hidden", *map(str, case.architecture["hidden"])]
    nets += ["--channels", *map(str, case.architecture.get("channels", []))]
    command = [sys.executable, str(NAIVE)]
    command += [str(prepared / f"{split}.images.npy") for split in ("train", "validation")]
    command += [*nets, "--latents", str(case.latents), "--epochs", str(case.epochs)]
    command += ["--batch-size", str(case.batch_size), "--device", device]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    found = []
    began = trainings.clock()
    for beta in betas_of(weight, trials):
        value = beta if weight == "beta" else 1 / beta
        done = subprocess.run(
            [*command, f"--{weight}", str(value)],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        found.append(Terms(*json.loads(done.stdout)))
    return trainings.clock() - began, found


def studied(
    folder: Path, case: Case, question: Question, way: dict[str, dict[str, Any]]
) -> tuple[float, list[Terms] | float]:
    """Seconds of a study that begins; what its curve is at each β, or else the least D + R."""
    raw = settings_of(case, question, way)
    YAML().dump(raw, folder / PARAMS)
    shutil.rmtree(folder / CURVE, ignore_errors=True)
    seconds = study(folder)
    if raw["tune"]["method"] == "curve":
        rows = validation_rows(read_rows(folder / CURVE))
        return seconds, [Terms(row.distortion, row.rate) for row in rows]
    ended = Journal(folder / "studies" / raw["tune"]["study"]).trials()
    values = [trial.values[0] for trial in ended if trial.values]
    if len(values) != question.trials:
        raise SystemExit(f"{len(values)} of {question.trials} trials have ended")
    return seconds, min(values)


def compare(
    name: str, case: Case, question: Question, rounds: int, ways: Sequence[str]
) -> list[dict[str, Any]]:
    """Measure a row for the naive runs, and one for each way."""
    folder = Path(tempfile.mkdtemp(prefix="vaebalance-")) / name
    project(folder, case)
    betas = betas_of(question.weight, question.trials)
    naive: list[float] = []
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        whole, runs = naive_runs(folder, case, question)
        naive.append(whole)
        trainings.say(f"{name}: naive: {whole:.1f} s")
        came_to: dict[str, dict[str, float]] = {}
        for way in ways:
            took, found = studied(folder, case, question, WAYS[way])
            seconds[way].append(took)
            came_to[way] = quality(found, runs, betas)
            trainings.say(f"{name}: {way}: {took:.1f} s, {whole / took:.2f} times as fast")
    shared = {"case": name, "trials": question.trials, "epochs": case.epochs}
    rows = [shared | times("naive", naive, naive) | quality(runs, runs, betas)]
    return rows + [shared | times(way, seconds[way], naive) | came_to[way] for way in ways]


def times(way: str, seconds: list[float], naive: list[float]) -> dict[str, Any]:
    """Medians over rounds, and the ratios' range."""
    ratios = [a / b for a, b in zip(naive, seconds, strict=True)]
    return {
        "way": way,
        "seconds": statistics.median(seconds),
        "times as fast": statistics.median(ratios),
        "least": min(ratios),
        "largest": max(ratios),
    }


def quality(found: list[Terms] | float, naive: list[Terms], betas: list[float]) -> dict[str, float]:
    """Return the least D + R, and at the naive runs' β the gaps to them, in percent."""
    if isinstance(found, float):
        return {"best D + R": found}
    gaps = [
        100 * (ours.weighted(beta) / theirs.weighted(beta) - 1)
        for beta, ours, theirs in zip(betas, found, naive, strict=True)
    ]
    return {
        "best D + R": min(terms.weighted(1.0) for terms in found),
        "mean gap %": statistics.mean(gaps),
        "worst gap %": max(gaps),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--weight", default="beta", choices=["alpha", "beta"])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="of each training; default: the case's")
    parser.add_argument("--images", type=int, help="of each part; default: the case's")
    parser.add_argument("--device", default="cpu", help="of all trainings")
    options = parse_options(parser)
    if options.trials < 2:
        parser.error(f"--trials {options.trials}: a range has two ends; give 2 or more")
    rows = []
    for name in options.cases:
        case = CASES[name]
        case = case._replace(
            epochs=options.epochs or case.epochs, images=options.images or case.images
        )
        question = Question(options.weight, options.trials, options.device)
        rows += compare(name, case, question, options.rounds, options.ways)
    print(trainings.table(rows))
    name = on_device("sixteen_trials", options.device)
    facts = {"weight": options.weight, "rounds": options.rounds}
    write_result(name, rows, options.out, **facts)


if __name__ == "__main__":
    main()
