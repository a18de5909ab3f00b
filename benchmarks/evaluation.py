"""The whole evaluation of an MNIST model: wall time, the share of each part, peak memory.

    python benchmarks/evaluation.py [ROOT] [--nll-samples 64] [--out benchmarks/results]

ROOT holds MNIST as torchvision lays it out (default: $VAEBALANCE_MNIST or ../shared/data). A small
VAE is trained for one epoch in a process of its own; another one evaluates it on all 10,000 test
images with the settings of params.yaml but for K, and is the one that is measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import trainings
from results import parse_options, write_result

from vaebalance.data import open_dataset, prepare
from vaebalance.evaluation.stage import evaluate
from vaebalance.run.training_run import Training
from vaebalance.settings import Settings, TrainSettings, parse, read_yaml
from vaebalance.vae.saved_model import load_model, save_model

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


def settings(root: str, nll_samples: int) -> Settings:
    """Return the default settings on dynamically binarised MNIST, with 16 latents."""
    raw = read_yaml(PARAMS)
    raw["data"] |= {"source": {"kind": "mnist"}, "root": root, "binarisation": "dynamic"}
    raw["model"]["latent_size"] = 16
    raw["train"] |= {"epochs": 1, "batch_size": 128, "device": "cpu"}
    raw["evaluate"]["nll_samples"] = nll_samples
    return parse(raw)


def train(chosen: Settings, folder: Path) -> None:
    """Prepare MNIST and train a model into `folder`."""
    prepare(chosen.data, chosen.seed, folder / "prepared")
    view = {name: getattr(chosen, name) for name in TrainSettings.model_fields}
    training = Training(TrainSettings(**view), open_dataset(folder / "prepared"))
    for _ in training:
        pass
    save_model(folder / "model", training.learner.model, training.best_weights)


def measure(chosen: Settings, folder: Path) -> dict[str, Any]:
    """Evaluate the model in `folder`; seconds and megabytes."""
    dataset, model = open_dataset(folder / "prepared"), load_model(folder / "model")
    before = peak_memory()
    started = time.perf_counter()
    found = evaluate(model, dataset, chosen.evaluate, chosen.seed)
    return {
        "images": found.settings.images,
        "nll_samples": found.settings.nll_samples,
        "threads": torch.get_num_threads(),
        "seconds": time.perf_counter() - started,
        "parts": dict(found.seconds),
        "peak_memory_mb": peak_memory(),
        "of_which_before_evaluating_mb": before,
    }


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    print(
        f"{found['images']:,} images, K = {found['nll_samples']}, {found['threads']} threads: "
        f"{found['seconds']:.1f} s, peak memory {found['peak_memory_mb']:,.0f} MB "
        f"({found['of_which_before_evaluating_mb']:,.0f} MB before evaluating)"
    )
    for part, seconds in sorted(found["parts"].items(), key=lambda item: -item[1]):
        print(f"  {part:32}{seconds:8.2f} s {seconds / found['seconds']:7.1%}")


def main() -> None:
    """Train in one process, measure in another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=str(trainings.MNIST))
    parser.add_argument("--nll-samples", type=int, default=64)
    parser.add_argument("--step", choices=["train", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parse_options(parser)
    chosen = settings(given.root, given.nll_samples)
    if given.step == "train":
        train(chosen, given.folder)
    elif given.step == "measure":
        print(json.dumps(measure(chosen, given.folder)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            same = [given.root, "--nll-samples", str(given.nll_samples), "--folder", folder]
            command = [sys.executable, __file__, *same, "--step"]
            subprocess.run([*command, "train"], check=True)
            done = subprocess.run([*command, "measure"], check=True, stdout=subprocess.PIPE)
        found = json.loads(done.stdout)
        show(found)
        parts = {"whole": found["seconds"]} | found.pop("parts")
        rows = [{"part": part, "seconds": spent} for part, spent in parts.items()]
        write_result("evaluation", rows, given.out, **found)


if __name__ == "__main__":
    main()
