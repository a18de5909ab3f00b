"""What a study costs beside its trainings.

    python benchmarks/study_overhead.py [--rounds 3] [--trials 16] [--many 500]
                                        [--out benchmarks/results]

In one run, interleaved: `vaebalance study` with 1 and with 2 workers on digits, and the same
trainings (the weights that the study tried) bare, one after the other in one process and in two
processes of one thread each, which is what this machine can gain at all. Wall times of whole
processes, imports included, with an MLflow store that is there, as after any pipeline; medians.
Then a study of many trials of a trivial model: seconds a trial beside the bare trainings, and the
size of what is stored.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trainings
from results import parse_options, write_result
from ruamel.yaml import YAML

from vaebalance.data import open_dataset, prepare
from vaebalance.run.training_run import Training
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.study.search.knobs import with_values
from vaebalance.study.storage.journal import Journal

BETA = "balance.beta"
TRIVIAL = {
    "model": {"latent_size": 1, "architecture": {"kind": "mlp", "hidden": [4]}},
    "train": {"epochs": 1, "device": "cpu"},
}


def project(
    folder: Path, trials: int, workers: int, sections: dict[str, dict[str, Any]], **data: Any
) -> None:
    """Make a project on digits with no study yet."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    yaml = YAML()
    params = yaml.load(trainings.ROOT / PARAMS)
    params["data"].update(data)
    params["tune"].update({"trials": trials, "workers": workers})
    params["tune"].update({"objective": {"kind": "negative_elbo"}, **sections.get("tune", {})})
    for name in ("model", "train"):
        params[name].update(sections.get(name, {}))
    yaml.dump(params, folder / PARAMS)
    settings = load(Settings, folder / PARAMS)
    prepare(settings.data, settings.seed, folder / "data" / "prepared")


def timed(folder: Path, commands: Sequence[Sequence[str]], threads: int | None = None) -> float:
    """Seconds until all commands, started at once, are done."""
    environment = os.environ | {"PYTHONPATH": str(trainings.ROOT / "src")}
    environment.pop("OMP_NUM_THREADS", None)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    began = trainings.clock()
    processes = [
        subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL
        )
        for command in commands
    ]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit("a command failed")
    return trainings.clock() - began


def bare(betas: Sequence[float]) -> None:
    """Train with each weight, as a study's trials do, and do nothing else."""
    settings, dataset = load(Settings), open_dataset(Path("data/prepared"))
    for beta in betas:
        list(Training(with_values(settings, {BETA: beta}), dataset))


def study(folder: Path) -> float:
    """Seconds of a study that begins."""
    shutil.rmtree(folder / "studies", ignore_errors=True)
    return timed(folder, [[str(trainings.ROOT / "pipelines" / "tune.py")]])


def with_store(folder: Path) -> None:
    """Make MLflow's store, which takes seconds, once in a project's life."""
    timed(
        folder,
        [["-c", "from vaebalance.tracking.store import open_store; open_store()"]],
    )


def tried(folder: Path) -> list[str]:
    """Return the weights of the study's trials."""
    return [str(trial.point[BETA]) for trial in Journal(folder / "studies" / "balance").trials()]


def compare(rounds: int, trials: int) -> list[dict[str, Any]]:
    """Studies with 1 and 2 workers, and bare trainings; medians of seconds and of ratios."""
    root = Path(tempfile.mkdtemp(prefix="vaebalance-"))
    for workers in (1, 2):
        project(root / str(workers), trials, workers, {"train": {"device": "cpu"}})
        with_store(root / str(workers))
    me = [str(Path(__file__).resolve()), "--bare"]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        one = study(root / "1")
        betas = tried(root / "1")
        times = {
            "study, 1 worker": one,
            "bare, 1 process": timed(root / "1", [[*me, *betas]]),
            "study, 2 workers": study(root / "2"),
            "bare, 2 processes": timed(
                root / "1", [[*me, *betas[::2]], [*me, *betas[1::2]]], threads=1
            ),
        }
        for name, value in times.items():
            seconds.setdefault(name, []).append(value)
        trainings.say(", ".join(f"{name}: {value:.1f} s" for name, value in times.items()))
    whole = seconds["bare, 1 process"]
    return [
        {
            "what": name,
            "seconds": statistics.median(values),
            "of bare": statistics.median(a / b for a, b in zip(values, whole, strict=True)),
        }
        for name, values in seconds.items()
    ]


def many(trials: int, sampler: str) -> dict[str, Any]:
    """Run a study of a trivial model."""
    folder = Path(tempfile.mkdtemp(prefix="vaebalance-")) / "many"
    sections = TRIVIAL | {"tune": {"sampler": sampler}}
    project(folder, trials, 1, sections, max_images=60)
    with_store(folder)
    whole = study(folder)
    alone = timed(folder, [[str(Path(__file__).resolve()), "--bare", *tried(folder)]])
    stored = {
        "study.journal": folder / "studies" / "balance" / "study.journal",
        "mlflow.db": folder / "mlflow.db",
    }
    return {
        "sampler": sampler,
        "trials": trials,
        "seconds": whole,
        "bare": alone,
        "overhead a trial, ms": 1000 * (whole - alone) / trials,
        **{f"{name}, MB": path.stat().st_size / 1e6 for name, path in stored.items()},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--bare", nargs="*", type=float, help=argparse.SUPPRESS)
    options = parse_options(parser)
    if options.bare is not None:
        return bare(options.bare)
    rows = compare(options.rounds, options.trials)
    print(trainings.table(rows))
    large = [many(options.many, sampler) for sampler in ("gp", "quasi_random")]
    print(trainings.table(large))
    write_result("study_overhead", rows, options.out)
    write_result("study_overhead-many", large, options.out)


if __name__ == "__main__":
    main()
