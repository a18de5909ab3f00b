"""The VAE of Burda et al. 2016 beside its published nll, on binarised MNIST.

    python benchmarks/published.py [--binarisation dynamic static] [--epochs 120] [--samples 5000]
                                   [--out benchmarks/results]

784-200-200-50 with tanh, and back; 57,004 training images, Adam in three stages of `epochs` each,
the learning rate divided by √10 from one to the next; the epoch that is kept is the best of a stage
on validation. MNIST is torchvision's layout in $VAEBALANCE_MNIST or ../shared/data. The static
binarisation is drawn by us, with the same probabilities as the published file. Published: K = 5000,
3,280 epochs in eight stages, batches of 20, trained on all 60,000 images.
"""

from __future__ import annotations

import argparse
from typing import Any

import trainings
from results import parse_options, write_result

from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nll
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.run.training_run import Training

PUBLISHED = {"dynamic": 86.76, "static": 88.71}
NET = {
    "model": {
        "latent_size": 50,
        "architecture": {"kind": "mlp", "hidden": [200, 200], "activation": "tanh"},
    },
    "likelihood": {"kind": "bernoulli"},
}
RATES = (1e-3, 3.2e-4, 1e-4)
BATCH = 100


def trained(binarisation: str, epochs: int) -> tuple[Training, Any, float]:
    """Return the last stage's training, its data, and the seconds of all stages' steps."""
    dataset = trainings.data("mnist", max_images=None, binarisation=binarisation)
    weights, total = None, 0.0
    for stage, rate in enumerate(RATES):
        spec = {"learning_rate": rate, "epochs": epochs, "batch_size": BATCH, "patience": None}
        training = Training(trainings.settings_of(NET, {"train": spec}, seed=stage), dataset)
        if weights is not None:
            training.learner.model.load_state_dict(weights)
        for _ in training:
            pass
        weights = training.best_weights
        seconds = sum(epoch.seconds for epoch in training.history)
        total += seconds
        v = training.best.validation
        trainings.say(
            f"{binarisation}, learning rate {rate:g}: {epochs} epochs in {seconds:.0f} s, kept "
            f"{training.best.epoch}: validation D {v.distortion:.2f} + R {v.rate:.2f} = "
            f"{v.negative_elbo:.2f}"
        )
    return training, dataset, total


def measured(binarisation: str, epochs: int, samples: int) -> dict[str, Any]:
    """Measure the row of a binarisation."""
    training, dataset, seconds = trained(binarisation, epochs)
    model = training.learner.model
    model.load_state_dict(training.best_weights)
    model.eval()
    test = measured_images(dataset, "test", seed=0)
    cost = {"batch_size": 8192, "seed": 0}
    parts = elbo_parts(model, test, samples=8, **cost)
    nll = importance_weighted_nll(model, test, samples=samples, **cost)
    return {
        "binarisation": binarisation,
        "epochs": len(RATES) * epochs,
        "minutes": seconds / 60,
        "D": parts.distortion,
        "R": parts.rate,
        "D + R": parts.negative_elbo,
        "K": samples,
        "nll": nll.mean,
        "±": nll.standard_error,
        "published nll": PUBLISHED[binarisation],
        "difference": nll.mean - PUBLISHED[binarisation],
    }


def main() -> None:
    """Train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binarisation", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--samples", type=int, default=5000)
    options = parse_options(parser)
    rows = [measured(name, options.epochs, options.samples) for name in options.binarisation]
    print(trainings.table(rows))
    write_result("published", rows, options.out)


if __name__ == "__main__":
    main()
