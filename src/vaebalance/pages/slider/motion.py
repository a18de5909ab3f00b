"""Positions of the moving marks in each state, in tenths of a pixel of the backdrops."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaebalance.pages.slider import backdrops
from vaebalance.pages.slider.backdrops import Backdrop, Landmark
from vaebalance.pages.slider.states import CurveState, latents_by_rate

TENTHS = 10  # per pixel
FAR = 3000.0  # pixels: outside every chart, and within 16 bits of tenths
PRIOR_REACH = 3.3  # prior standard deviations that are always visible
MOST_IN_VIEW = 0.98  # fraction of coordinates within the plane; the rest is cut off
MARGIN = 1.06
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Motion:
    """Positions in S states; coordinates are relative to the upper left corner of a plot."""

    curve: Backdrop
    plane: Backdrop
    bars: Backdrop
    marker: NDArray[np.int16]  # [S, 2] tenths: x, y on the curve
    codes: NDArray[np.int16]  # [S, M, 4] tenths: x, y, and the posterior's half axes
    heights: NDArray[np.int16]  # [S, Z] tenths, highest rate first
    active: NDArray[np.bool_]  # [S, Z], in the same order
    latents: tuple[int, ...]
    """Latents by decreasing rate, [Z]; the plane shows the first two, or the only one."""

    @property
    def has_prior(self) -> bool:
        """Whether the prior's circles belong in the plane."""
        return len(self.latents) > 1


def motion(states: Sequence[CurveState], landmarks: Sequence[Landmark]) -> Motion:
    """Compute all positions in each state."""
    ordered = latents_by_rate(states)
    rates, distortions = [s.rate for s in states], [s.distortion for s in states]
    curve = backdrops.curve(rates, distortions, landmarks)
    mean, std = _in_plane(states, ordered[:2])
    reach = max(PRIOR_REACH, float(np.quantile(np.abs(mean), MOST_IN_VIEW))) * MARGIN
    titles = [f"z{ordered[0]}, prior sd", f"z{ordered[1]}" if len(ordered) > 1 else None]
    plane = backdrops.plane(reach, titles)
    by_latent = np.stack([s.rate_by_latent[ordered] for s in states])
    bars = backdrops.bars(len(ordered), max(float(by_latent.max()) * MARGIN, 0.1))
    scale = plane.size[1] / (2 * reach)
    half_axes = std * scale
    codes = (
        plane.across(mean[..., 0]),
        plane.down(mean[..., 1]),
        half_axes[..., 0],
        half_axes[..., 1],
    )
    return Motion(
        curve,
        plane,
        bars,
        _tenths(np.stack([curve.across(rates), curve.down(distortions)], axis=-1)),
        _tenths(np.stack(codes, axis=-1)),
        _tenths(bars.size[1] - bars.down(by_latent)),
        np.stack([s.active[ordered] for s in states]),
        tuple(ordered),
    )


def packed(numbers: NDArray[np.int16]) -> str:
    """Encode as little-endian int16 in base64."""
    return base64.b64encode(numbers.astype("<i2").tobytes()).decode("ascii")


def _in_plane(
    states: Sequence[CurveState], latents: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and standard deviations [S, M, 2]; with one latent, y only spreads points."""
    mean = np.stack([s.mean[:, latents] for s in states]).astype(np.float64)
    std = np.stack([s.std[:, latents] for s in states]).astype(np.float64)
    if len(latents) == 1:
        # Multiples of the golden ratio spread any number of points evenly.
        spread = ((np.arange(mean.shape[1]) * GOLDEN) % 1.0 - 0.5) * PRIOR_REACH
        mean = np.concatenate([mean, np.broadcast_to(spread[:, None], mean.shape)], axis=-1)
        std = np.concatenate([std, np.zeros_like(std)], axis=-1)
    return mean, std


def _tenths(pixels: ArrayLike) -> NDArray[np.int16]:
    return (np.clip(pixels, -FAR, FAR) * TENTHS).round().astype(np.int16)
