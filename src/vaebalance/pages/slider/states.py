"""What the model at each β of a curve shows, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.base.seeds import derive_seed
from vaebalance.data import Dataset
from vaebalance.evaluation.bounds import elbo_parts
from vaebalance.evaluation.measured_images import MeasuredImages, measured_images
from vaebalance.evaluation.posterior_moments import active_units, posterior_moments
from vaebalance.pages.figures.picture_sheets import to_bytes
from vaebalance.pages.kit.decoded import decode, reconstruct
from vaebalance.pages.slider.examples import PRIOR_SAMPLES, shown_images
from vaebalance.vae.model import VAE

BATCH_SIZE = 1024
ACTIVE_THRESHOLD = 0.01
LEAST_STATES, MOST_STATES = 2, 60


@dataclass(frozen=True, eq=False)
class CurveState:
    """Numbers and pictures of one β, from the test split.

    P reconstructed images, S prior samples and M codes are the same in all states; Z latents.
    """

    beta: float
    distortion: float
    """D, nats per image."""
    rate_by_latent: NDArray[np.float64]  # [Z] nats per image
    active: NDArray[np.bool_]  # [Z], Var_x(E[z|x]) > ACTIVE_THRESHOLD
    reconstructions: NDArray[np.uint8]  # [P, C, H, W], the mean of p(x|z) at z = E[z|x]
    samples: NDArray[np.uint8]  # [S, C, H, W], the mean of p(x|z) at z ~ p(z)
    mean: NDArray[np.float32]  # [M, Z], E[z|x]
    std: NDArray[np.float32]  # [M, Z], of q(z|x)

    @property
    def rate(self) -> float:
        """R, nats per image."""
        return float(self.rate_by_latent.sum())

    @property
    def active_count(self) -> int:
        """Number of active units."""
        return int(self.active.sum())


def curve_states(
    models: Iterable[tuple[float, VAE]],
    dataset: Dataset,
    seed: int,
    *,
    measured: int | None = None,
    samples: int = 1,
) -> list[CurveState]:
    """Compute the state at each β, in ascending order; the same arguments give the same states.

    Each model is used once and may be discarded before the next is made.

    Args:
        models: pairs of β and its VAE in evaluation mode; all of one architecture.
        dataset: prepared data set; its test split is measured and shown.
        seed: seed of the run, for draws of q(z|x), prior codes and dynamic binarisation.
        measured: maximum number of test images for D, R and the active units; None for all.
        samples: draws of q(z|x) per image for D.

    Raises:
        UserError: a β or its model is invalid, or there are too few or too many.
    """
    whole = measured_images(dataset, "test", seed)
    images = whole if measured is None else whole.spread(measured)
    shown = shown_images(dataset, seed)
    pictures = whole.at(torch.tensor(shown.positions))
    coded = whole.at(torch.tensor(shown.coded))
    states: list[CurveState] = []
    for beta, model in models:
        _refuse_misfit(beta, model, [state.beta for state in states])
        codes = _prior_codes(model, seed)
        x = pictures.pixels(slice(None), codes.device)
        moments = posterior_moments(model, coded, batch_size=BATCH_SIZE)
        distortion, rates, active = _measure(model, images, samples, seed)
        _refuse_non_finite(beta, distortion, rates)
        states.append(
            CurveState(
                float(beta),
                distortion,
                rates,
                active,
                to_bytes(reconstruct(model, x).pictures).numpy(),
                to_bytes(decode(model, codes)).numpy(),
                moments.mean.numpy(),
                moments.std.numpy(),
            )
        )
    _refuse_misfits(states)
    return sorted(states, key=lambda state: state.beta)


def _measure(
    model: VAE, images: MeasuredImages, samples: int, seed: int
) -> tuple[float, NDArray[np.float64], NDArray[np.bool_]]:
    """Return D, the rate of each latent, and whether each latent is active."""
    parts = elbo_parts(model, images, samples=samples, batch_size=BATCH_SIZE, seed=seed)
    moments = posterior_moments(model, images, batch_size=BATCH_SIZE)
    active = active_units(moments, ACTIVE_THRESHOLD)
    return parts.distortion, parts.rate_by_latent.numpy(), active.numpy()


def _prior_codes(model: VAE, seed: int) -> Tensor:
    """Draw prior codes [S, Z] on the model's device, equal for models of one latent size."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "prior samples"))
    drawn = torch.randn((PRIOR_SAMPLES, model.latent_size), generator=generator)
    return drawn.to(model.prior_mean.device)


def latents_by_rate(states: Sequence[CurveState]) -> list[int]:
    """Return the latents by decreasing rate, averaged over the states."""
    rates = np.mean([state.rate_by_latent for state in states], axis=0)
    return [int(latent) for latent in np.argsort(-rates, kind="stable")]


def _refuse_misfits(states: Sequence[CurveState]) -> None:
    if not LEAST_STATES <= len(states) <= MOST_STATES:
        raise UserError(
            f"the curve's page: {len(states)} values of β; it needs {LEAST_STATES} to "
            f"{MOST_STATES}. Trace the curve at a number of β in that range."
        )
    shapes = {(len(s.rate_by_latent), s.samples.shape[1:]) for s in states}
    if len(shapes) > 1:
        listed = ", ".join(f"{latents} latents of {shape}" for latents, shape in sorted(shapes))
        raise UserError(
            f"the curve's page: models of different sizes ({listed}); all states of a curve need "
            "the same model.latent_size and image size."
        )


def _refuse_misfit(beta: float, model: VAE, before: Sequence[float]) -> None:
    if not (math.isfinite(beta) and beta > 0):
        raise UserError(
            f"the curve's page: β = {beta}; it must be finite and above 0, because the slider's "
            "scale is logarithmic. Omit this β."
        )
    if beta in before:
        raise UserError(f"the curve's page: β = {beta:g} appears twice; give each β once.")
    if not model.is_variational:
        raise UserError(
            f"the curve's page: the model at β = {beta:g} is a plain autoencoder, which has no "
            "rate; train with model.posterior: gaussian."
        )


def _refuse_non_finite(beta: float, distortion: float, rates: NDArray[np.float64]) -> None:
    if not (math.isfinite(distortion) and np.isfinite(rates).all()):
        raise UserError(
            f"the curve's page: at β = {beta:g} D = {distortion}, R = {rates.sum()}; both must be "
            "finite. Train again with a lower train.learning_rate, or omit this β."
        )
