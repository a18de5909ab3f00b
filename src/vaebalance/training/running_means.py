"""Means over a split or an epoch, accumulated on the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaebalance.balancing.penalties import AbstractPenalty, Components
from vaebalance.base.reports import PosteriorStats, SplitReport
from vaebalance.vae.elbo import ElboTerms, Weights, weighted_terms
from vaebalance.vae.model import VAE

TERMS = ("distortion", "distortion", "rate", "weighted distortion", "weighted rate")
"""Names, for messages, of the first numbers in a row of sums."""


class NonFiniteBatch(Exception):  # noqa: N818 - caught by `run_epochs`, which knows the epoch
    """Raised for a batch (counted from 1 within its epoch) whose `term` is NaN or infinite."""

    def __init__(self, batch: int, term: str) -> None:
        super().__init__(f"{term}, batch {batch}")
        self.batch = batch
        self.term = term


class RunningMeans:
    """Means of D, R, their weighted values and a penalty's components."""

    def __init__(self, model: VAE, penalty: AbstractPenalty) -> None:
        self._likelihood = model.likelihood
        self._dimensions = math.prod(model.image_shape)
        self._costs = penalty.coefficients()
        self._names = (*TERMS, *self._costs)
        self._pending: list[Tensor] = []  # [5 + components] for each batch, see `batch_sums`
        self._sums = torch.zeros(len(self._names), dtype=torch.float64)
        self._alpha: float | Tensor = 0.0
        self._beta: float | Tensor = 0.0
        self._images = 0
        self._batches = 0

    def add(self, terms: ElboTerms, weights: Weights, components: Components) -> None:
        """Add a batch: its detached terms, its weights and the penalty's components."""
        self.add_row(batch_sums(terms, weights, components), len(terms.distortion), weights)

    def add_row(self, row: Tensor, images: int, weights: Weights) -> None:
        """Add a batch of `images` whose `batch_sums` are `row`."""
        self._pending.append(row)
        self._alpha = self._alpha + images * _mean(weights.alpha)
        self._beta = self._beta + images * _mean(weights.beta)
        self._images += images

    def read(self) -> SplitReport:
        """Wait for the device and return the means over the images added so far.

        Raises:
            NonFiniteBatch: a batch added since the last call has a NaN or infinite term.
        """
        if self._pending:
            rows = torch.stack(self._pending).cpu().double()  # [batches, 5 + components]
            self._refuse_non_finite(rows)
            self._sums += rows.sum(0)
            self._batches += len(self._pending)
            self._pending.clear()
        means = (self._sums / self._images).tolist()
        distortion, mean_square, rate, weighted_distortion, weighted_rate, *measured = means
        nats = self._likelihood.distortion_in_nats(distortion, mean_square, self._dimensions)
        components = dict(zip(self._costs, measured, strict=True))
        penalty = sum(self._costs[name] * value for name, value in components.items())
        return SplitReport(
            distortion=distortion,
            rate=rate,
            weighted_distortion=weighted_distortion,
            weighted_rate=weighted_rate,
            weighted_loss=weighted_distortion + weighted_rate + penalty,
            negative_elbo=nats + rate,
            alpha=float(self._alpha) / self._images,
            beta=float(self._beta) / self._images,
            weighted_penalty=float(penalty),
            components=components,
        )

    def _refuse_non_finite(self, rows: Tensor) -> None:
        bad = ~rows.isfinite()
        if not bad.any():
            return
        batch = int(bad.any(1).int().argmax())
        name = self._names[int(bad[batch].int().argmax())]
        raise NonFiniteBatch(self._batches + batch + 1, name.replace("_", " "))


def batch_sums(terms: ElboTerms, weights: Weights, components: Components) -> Tensor:
    """Return the sums over a batch that `RunningMeans` adds up: [5 + components], detached."""
    images = len(terms.distortion)
    weighted_distortion, weighted_rate = weighted_terms(terms, weights)
    row = [
        terms.distortion.sum(),
        terms.distortion.square().sum(),
        terms.rate.sum(),
        images * weighted_distortion,
        images * weighted_rate,
        *(images * value.detach() for value in components.values()),
    ]
    return torch.stack(row)


def posterior_sums(terms: ElboTerms, *, is_density: bool) -> Tensor:
    """Sum over a batch what `posterior_stats` needs: [2 + 2Z] float64, on the CPU.

    They are the squared error and the variance of p(x|z) (0 if it is no density), each averaged
    over pixels, then the rate and the variance of q(z|x) for each latent. The terms of K stacked
    models give [K, 2 + 2Z].
    """
    predicted = terms.predicted_variance if is_density else torch.zeros_like(terms.distortion)
    columns = [terms.mean_squared_error[..., None], predicted[..., None]]
    rows = torch.cat([*columns, terms.rate_by_latent, terms.posterior_variance], -1)
    return rows.sum(-2).cpu().double()


def posterior_stats(sums: Tensor, images: int, *, is_density: bool) -> PosteriorStats:
    """Return the posterior stats of a split of `images` images from the sum of its batches."""
    squared_error, predicted, *by_latent = (sums / images).tolist()
    rates, variances = by_latent[: len(by_latent) // 2], by_latent[len(by_latent) // 2 :]
    return PosteriorStats(
        rmse=math.sqrt(squared_error),
        predicted_sigma=math.sqrt(predicted) if is_density else None,
        rate_by_latent=tuple(rates),
        sigma_by_latent=tuple(map(math.sqrt, variances)),
    )


def _mean(weight: float | Tensor) -> float | Tensor:
    """Average a weight over latents or images if it differs between them."""
    return weight.mean() if isinstance(weight, Tensor) and weight.ndim else weight
