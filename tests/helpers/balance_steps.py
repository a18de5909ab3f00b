"""Steps of a balance on made-up terms, for the tests of balances."""

import math

import torch
from torch.distributions import Independent, Normal

from vaebalance.balancing import RunFacts
from vaebalance.base.reports import SplitReport
from vaebalance.vae.elbo import ElboTerms

RUN = RunFacts(dimensions=16, latent_size=4, steps=40, steps_per_epoch=4, sigma=0.5)


def terms_of(distortion, rates, squared_error=1.0) -> ElboTerms:
    """Make the terms of 5 images from D, R by latent, and ‖x − x̂‖² of each."""
    off = math.sqrt(squared_error / RUN.dimensions)
    mean = torch.full((5, 1, 4, 4), off)
    likelihood = Independent(Normal(mean, 1.0, validate_args=False), 3, validate_args=False)
    return ElboTerms(
        torch.full((5,), float(distortion)),
        torch.as_tensor(rates).float().expand(5, -1),
        likelihood,
        torch.zeros(5, 1, 4, 4),
    )


def terms_at(step) -> ElboTerms:
    """Make terms that differ at each step."""
    generator = torch.Generator().manual_seed(step)
    rates = 3 * torch.rand(4, generator=generator)
    return terms_of(60 + 60 * torch.rand((), generator=generator), rates, 0.5 + step % 3)


def epoch_of(**values) -> SplitReport:
    """Make an epoch's means with ordinary values except for `values`."""
    ordinary = {"distortion": 80.0, "rate": 20.0, "alpha": 1.0, "beta": 1.0}
    rest = ("weighted_distortion", "weighted_rate", "weighted_loss", "negative_elbo")
    return SplitReport(**dict.fromkeys(rest, 1.0) | ordinary | values)


def follow(balance, state, steps):
    used = []
    for step in steps:
        used.append(balance.weights(state, terms_at(step)))
        state = balance.next_state(state, terms_at(step))
    return used, state


def run(balance, steps):
    return follow(balance, balance.initial_state(RUN), range(steps))
