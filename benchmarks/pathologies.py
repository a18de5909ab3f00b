"""Trainings that are ill on purpose, and healthy ones: does each get the right verdict?

    python benchmarks/pathologies.py [--seeds 3] [--out benchmarks/results]

MNIST, 10,000 images, 784-400-20 (torchvision's layout in $VAEBALANCE_MNIST or ../shared/data), and
for BCE on colours 3,000 drawn pictures: a disc on a gradient, 3×24×24.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import trainings
from results import Table, parse_options, write_result

from vaebalance.balancing import OUT_OF_REACH, UNFINISHED
from vaebalance.base.verdicts import HEALTHY
from vaebalance.data import Dataset
from vaebalance.evaluation.diagnosis import COLLAPSED, KL_IGNORED, MISSPECIFIED


def fixed(alpha: float, beta: float) -> dict[str, Any]:
    """Return a balance of fixed weights."""
    return {"kind": "fixed", "alpha": alpha, "beta": beta}


BERNOULLI = {"kind": "bernoulli"}
GAUSSIAN = {"kind": "gaussian", "sigma": 0.1}
CASES: dict[str, tuple[str, trainings.Sections, str]] = {
    "healthy: BCE, α = β = 1": ("mnist", {}, HEALTHY),
    "healthy: Gaussian": ("mnist", {"likelihood": GAUSSIAN}, HEALTHY),
    "healthy: warm-up": ("mnist", {"balance": {"kind": "warm_up"}}, HEALTHY),
    "healthy: capacity 25": ("mnist", {"balance": {"kind": "capacity", "capacity": 25.0}}, HEALTHY),
    "β = 100": ("mnist", {"balance": fixed(1.0, 100.0)}, COLLAPSED),
    "α = 10⁻⁴": ("mnist", {"balance": fixed(1e-4, 1.0)}, COLLAPSED),
    "α = 10⁶": ("mnist", {"balance": fixed(1e6, 1.0)}, KL_IGNORED),
    "capacity 5,000": (
        "mnist",
        {"balance": {"kind": "capacity", "capacity": 5000.0}},
        OUT_OF_REACH,
    ),
    "GECO, D = 20": (
        "mnist",
        {"balance": {"kind": "geco", "distortion": 20.0}, "train": {"epochs": 30}},
        OUT_OF_REACH,
    ),
    "warm-up of 10⁵ steps": (
        "mnist",
        {"balance": {"kind": "warm_up", "steps": 100_000}},
        UNFINISHED,
    ),
    "BCE on colour": ("colours", {"likelihood": BERNOULLI}, MISSPECIFIED),
    "the same, gaussian_learned": (
        "colours",
        {"likelihood": {"kind": "gaussian_learned", "initial_sigma": 0.2}},
        HEALTHY,
    ),
    "σ = 0.01": ("mnist", {"likelihood": {"kind": "gaussian", "sigma": 0.01}}, MISSPECIFIED),
}
"""name -> data, sections, the verdict it must get."""
TABLES = {
    "pathologies": Table(
        {"training": "{case}", "verdicts": "{verdicts}", "as expected": "{right}"}, by=("case",)
    )
}


def colours() -> Dataset:
    """Discs of one colour on gradients between two others, prepared from PNG files."""
    import numpy as np
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="vaebalance-colours-"))
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:24, 0:24] / 23
    for number in range(3000):
        first, second, disc = draw.uniform(0.1, 0.9, (3, 3))
        slope = np.clip(x * (along := draw.uniform()) + y * (1 - along), 0, 1)[..., None]
        centre, radius = draw.uniform(0.25, 0.75, 2), draw.uniform(0.1, 0.3)
        inside = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2)[..., None]
        picture = np.where(inside, disc, first + (second - first) * slope)
        Image.fromarray((255 * picture).astype(np.uint8)).save(folder / f"{number}.png")
    return trainings.data(
        "image_folder", source={"kind": "image_folder", "size": 24}, root=str(folder)
    )


def main() -> None:
    """Train all, print what was said of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parse_options(parser)
    datasets: dict[str, Dataset] = {"mnist": trainings.data("mnist"), "colours": colours()}
    rows, sentences = [], []
    for name, (source, sections, expected) in CASES.items():
        for seed in range(options.seeds):
            settings = trainings.settings_of(trainings.SCALES["mnist"], sections, seed=seed)
            training, _ = trainings.train(datasets[source], settings)
            found = [verdict.name for verdict in training.verdicts] or [HEALTHY]
            right = expected in found and (expected != HEALTHY or found == [HEALTHY])
            rows.append({"case": name, "seed": seed, "verdicts": "; ".join(found), "right": right})
            trainings.say(f"{name}, seed {seed}: {'; '.join(found)}")
        sentences += [f"- {name}: {verdict}" for verdict in training.verdicts]
    print(trainings.table(rows))
    print("\nIn words (last seed):\n" + "\n".join(sentences))
    write_result("pathologies", rows, options.out)
    wrong = sum(not row["right"] for row in rows)
    print(f"\n{len(rows) - wrong} of {len(rows)} right")


if __name__ == "__main__":
    main()
