"""Trainings together, as one stacked model, against one by one and the loop that everyone writes.

    python benchmarks/together.py [--rounds 5] [--models 1 4 8 16] [--cases digits mnist]
                                  [--device cpu] [--out benchmarks/results]

Each does an epoch of K trainings of different β, in one process, taking turns; ours report each
epoch of each training. Prints images/s of all K and the ratios, round by round paired: medians.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from naive import NaiveVAE, naive_epoch
from results import on_device, parse_options, write_result
from training_step import seconds

from vaebalance.balancing import Fixed
from vaebalance.base.adam import Adam
from vaebalance.stacking.together import Member, Together
from vaebalance.training.loader import Images
from vaebalance.training.loop import TrainSpec, train
from vaebalance.training.precision import choose_threads, work_of
from vaebalance.training.step import Learner
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Architecture, Conv, ImageShape, Mlp


class Case(NamedTuple):
    """What is trained."""

    architecture: Architecture
    latent_size: int
    shape: ImageShape
    batch_size: int
    images: int
    validation: int


CASES = {
    "small": Case(Mlp(hidden=(64,)), 4, (1, 8, 8), 64, 1294, 144),
    "digits": Case(Mlp(hidden=(256, 128)), 8, (1, 8, 8), 64, 1294, 144),
    "digits-conv": Case(Conv(channels=(16, 32), hidden=(64,)), 8, (1, 8, 8), 64, 1294, 144),
    "mnist": Case(Mlp(hidden=(400,)), 20, (1, 28, 28), 128, 2560, 284),
    "mnist-conv": Case(Conv(), 16, (1, 28, 28), 128, 512, 56),
}
FOREVER = 10**6


def make_model(case: Case, device: torch.device) -> VAE:
    """Build a model with the same weights for all."""
    torch.manual_seed(0)
    spec = ModelSpec(
        architecture=case.architecture, latent_size=case.latent_size, posterior="gaussian"
    )
    return VAE(spec, Bernoulli(), case.shape).to(device)


def make_member(case: Case, number: int, device: torch.device) -> Member:
    """Make a training that has not begun."""
    model = make_model(case, device)
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    spec = TrainSpec(
        epochs=FOREVER,
        batch_size=case.batch_size,
        learning_rate=1e-3,
        gradient_clip=100.0,
        patience=None,
        checkpoint_every=1,
        device="auto",
        precision="fp32",
        compile="auto" if device.type == "cuda" else "off",
    )
    learner = Learner(model, optimizer, Fixed(beta=1.0 + number / 10), {})
    learner.threads = choose_threads(work_of(model, case.batch_size), learner.device)
    return Member(learner, spec, 0)


def epochs(case: Case, models: int, device: torch.device) -> tuple[Callable[[], None], ...]:
    """Time an epoch of `count` trainings: naive, one by one, together."""
    pixels = torch.randint(0, 256, (case.images, *case.shape), dtype=torch.uint8)
    images, validation = Images(pixels, "none"), Images(pixels[: case.validation], "none")
    nets = (make_model(case, device) for _ in range(models))
    naive = [naive_epoch(NaiveVAE(m.encoder, m.decoder), pixels, case.batch_size) for m in nets]
    alone = [
        train(member.learner, images, validation, member.spec, 0)
        for member in (make_member(case, number, device) for number in range(models))
    ]
    members = [make_member(case, number, device) for number in range(models)]
    group = Together(members, images, validation)
    streams = [group.reports(index) for index in range(models)]

    def one_naive() -> None:
        for epoch in naive:
            epoch()

    def one_by_one() -> None:
        for stream in alone:
            next(stream)

    def together() -> None:
        for stream in streams:
            next(stream)

    return one_naive, one_by_one, together


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--cases", nargs="+", default=["digits", "mnist"], choices=CASES)
    options = parse_options(parser)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    print(f"{'case':12} {'K':>3} {'naive':>9} {'alone':>9} {'together':>9}  img/s; together is")
    results = []
    for name in options.cases:
        for models in options.models:
            case = CASES[name]
            actions = epochs(case, models, options.device)
            rows = [[seconds(act) for act in actions] for _ in range(options.rounds + 1)][1:]
            speeds = [
                models * case.images / statistics.median(column)
                for column in zip(*rows, strict=True)
            ]
            naive, alone = (
                statistics.median(row[index] / row[2] for row in rows) for index in (0, 1)
            )
            shown = " ".join(f"{speed:9,.0f}" for speed in speeds)
            print(f"{name:12} {models:3} {shown}  {naive:.2f} × naive, {alone:.2f} × alone")
            row = dict(zip(("naive img/s", "alone img/s", "together img/s"), speeds, strict=True))
            ratios = {"together / naive": naive, "together / alone": alone}
            results.append({"case": name, "models": models} | row | ratios)
    write_result(on_device("together", options.device), results, options.out)


if __name__ == "__main__":
    main()
