"""Memory of a training and of an evaluation against the size of the data on disk.

    python benchmarks/memory.py [--images 1000 10000 100000 1000000] [--device cpu]
                                [--out benchmarks/results]

Each size in a process of its own, on random prepared images of 28×28, of which a tenth each is for
validation and for testing: an epoch of 784-64-8 with batches of 512, then an evaluation. Memory is
what belongs to the process alone. The images are mapped from their file: what is read of them
counts as memory that is shared with the file, which the system takes back when it needs it, and is
printed beside it. (Linux: it is read from /proc.) A CUDA device's memory is another column: a
training keeps its images there if they fit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trainings
from results import on_device, parse_options, write_result

from vaebalance.base.process import keep_freed
from vaebalance.data import open_dataset, prepare
from vaebalance.data.dataset import INFO, DatasetInfo
from vaebalance.evaluation.stage import evaluate
from vaebalance.run.training_run import Training
from vaebalance.settings import Settings, TrainSettings, parse, read_yaml
from vaebalance.vae.model import VAE

SHAPE = (1, 28, 28)
CHUNK = 10_000  # images written at once


def settings(device: str) -> Settings:
    """Return the default settings, with a small network and a short training."""
    raw = read_yaml(trainings.ROOT / "params.yaml")
    raw["model"] |= {"latent_size": 8, "architecture": {"kind": "mlp", "hidden": [64]}}
    raw["train"] |= {"epochs": 1, "batch_size": 512, "device": device}
    raw["evaluate"]["nll_samples"] = 16
    return parse(raw)


def write_images(folder: Path, count: int) -> None:
    """Prepare `count` random images, written in chunks."""
    chosen = settings("cpu")
    prepare(chosen.data, chosen.seed, folder)  # digits, for all that is told of the data
    info = DatasetInfo.from_json(json.loads((folder / INFO).read_text(encoding="utf-8")))
    splits = {"train": count - 2 * (count // 10), "validation": count // 10, "test": count // 10}
    random = np.random.default_rng(0)
    for split, images in splits.items():
        path = folder / f"{split}.images.npy"
        path.unlink()
        stored = np.lib.format.open_memmap(path, "w+", np.uint8, (images, *SHAPE))
        for start in range(0, images, CHUNK):
            part = stored[start : start + CHUNK]
            part[:] = random.integers(0, 256, part.shape, dtype=np.uint8)
        stored.flush()
    info = replace(info, image_shape=SHAPE, splits=splits, label_names=None)
    (folder / INFO).write_text(json.dumps(info.to_json()), encoding="utf-8")


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Measure the largest memory within, in MB: the process's own, and that of mapped files."""
    peak = {"own": 0.0, "mapped": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            status = dict(line.split(":", 1) for line in lines)
            for name, key in (("own", "RssAnon"), ("mapped", "RssFile")):
                peak[name] = max(peak[name], int(status[key].split()[0]) / 2**10)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def measure(folder: Path, images: int, device: str) -> dict[str, Any]:
    """Measure a row: memory and seconds of training and of evaluating."""
    write_images(folder, images)
    keep_freed()  # as a command does
    chosen, dataset = settings(device), open_dataset(folder)
    view = {name: getattr(chosen, name) for name in TrainSettings.model_fields}
    row: dict[str, Any] = {"images": images, "on disk MB": images * 784 / 2**20}
    with watched() as peak:
        training = Training(TrainSettings(**view), dataset)
        for _ in training:
            pass
    row |= {"training MB": peak["own"], "mapped MB": peak["mapped"]}
    row["images/s"] = training.history[-1].images_per_second
    model: VAE = training.learner.model
    began = time.perf_counter()
    with watched() as peak:
        evaluate(model.eval(), dataset, chosen.evaluate, chosen.seed)
    row |= {"evaluating MB": peak["own"], "evaluating s": time.perf_counter() - began}
    if torch.cuda.is_initialized():
        row["on the device MB"] = torch.cuda.max_memory_allocated() / 2**20
    return row


def main() -> None:
    """Print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10**k for k in range(3, 7)])
    parser.add_argument("--device", default="cpu", help="of training and evaluating")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parse_options(parser)
    if options.one:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(Path(folder) / "prepared", options.images[0], options.device)
            print(json.dumps(row))
        return
    rows = []
    for images in options.images:
        command = [sys.executable, __file__, "--one", "--images", str(images)]
        command += ["--device", options.device]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        trainings.say(str(rows[-1]))
    print(trainings.table(rows))
    write_result(on_device("memory", options.device), rows, options.out)


if __name__ == "__main__":
    main()
