"""The aggregate posterior of a latent and its prior, as the mass of each in narrow bins.

q(z_j) is the mean of q(z_j|x) over images, a mixture of normals, so its mass in a bin is computed
exactly; the only sampling noise is that of the choice of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaebalance.pages.figures.charts import Chart, Records, Spec, decimals_within, finish, on
from vaebalance.pages.figures.colours import INK, RATE
from vaebalance.pages.figures.planes import half_width

SIZE = (210, 120)  # pixels of the chart in a file
BINS = 60
REACH = 4.0  # prior standard deviations that are always in view
AT_ONCE = 2000  # images
LEAST_STD = 1e-9  # in place of 0, the spread of a plain autoencoder's code


@dataclass(frozen=True)
class Density:
    """Binned masses of q(z_j) and p(z_j)."""

    edges: NDArray[np.float64]  # [BINS + 1]
    mass: NDArray[np.float64]  # [BINS], of the aggregate posterior; sums to 1 but for the tails
    prior: NDArray[np.float64] | None  # [BINS]
    mean: float
    std: float
    """Standard deviation of the aggregate posterior: √(E[σ²] + Var(μ))."""

    @property
    def overlap(self) -> float | None:
        """The shared mass Σ min(q, p); 1 if both are the same."""
        return None if self.prior is None else float(np.minimum(self.mass, self.prior).sum())


def density(mean: NDArray[Any], std: NDArray[Any], *, has_prior: bool) -> Density:
    """Compute the binned aggregate posterior of one latent.

    Args:
        mean: mean of q(z_j|x) for M images, [M].
        std: standard deviation of q(z_j|x), [M].
        has_prior: whether the latent has the prior N(0, 1).
    """
    mean, std = mean.astype(np.float64), np.maximum(std.astype(np.float64), LEAST_STD)
    low, high = (mean - 2 * std).min(), (mean + 2 * std).max()
    if has_prior:
        low, high = min(low, -REACH), max(high, REACH)
    middle, half = (low + high) / 2, 1.04 * half_width(float(low), float(high))
    edges = np.linspace(middle - half, middle + half, BINS + 1)
    mass = np.zeros(BINS)
    for start in range(0, len(mean), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        z = (edges - mean[part, None]) / std[part, None]
        mass += np.diff(_normal_cdf(z), axis=1).sum(0)
    prior = np.diff(_normal_cdf(edges)) if has_prior else None
    spread = float(np.sqrt((std**2).mean() + mean.var()))
    return Density(edges, mass / len(mean), prior, float(mean.mean()), spread)


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    import torch

    found: NDArray[np.float64] = torch.special.ndtr(torch.from_numpy(z)).numpy()
    return found


def density_chart(name: str, title: str, unit: str, found: Density) -> Chart:
    """Draw the aggregate posterior as filled steps and the prior as a line through bin centres."""
    width = float(found.edges[1] - found.edges[0])
    datasets: dict[str, Records] = {
        "q": _records(found.edges, np.append(found.mass, found.mass[-1]) / width)
    }
    if found.prior is not None:
        datasets["p"] = _records(found.edges[:-1] + width / 2, found.prior / width)

    def draw(*, live: bool) -> Spec:
        return finish(_layers(datasets, found), datasets, SIZE, live=live, parameters={})

    beside = "" if found.overlap is None else f", overlap with the prior {found.overlap:.0%}"
    description = (
        f"Density of the aggregate posterior of {title}: mean {found.mean:.3g}, standard "
        f"deviation {found.std:.3g}{beside}."
    )
    return Chart(name, title, unit, description, draw(live=True), draw(live=False), "z")


def _records(z: NDArray[np.float64], heights: NDArray[np.float64]) -> Records:
    decimals, fine = decimals_within(float(np.ptp(z))), 1 + decimals_within(float(heights.max()))
    return [
        {"z": round(float(place), decimals), "density": round(float(height), fine)}
        for place, height in zip(z, heights, strict=True)
    ]


def _layers(datasets: dict[str, Records], found: Density) -> list[Any]:
    import altair as alt

    domain = [float(found.edges[0]), float(found.edges[-1])]
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    x = alt.X("z:Q", scale=scale, axis=alt.Axis(title=None, tickCount=5))
    y = alt.Y("density:Q", axis=None)
    edge = {"color": RATE, "strokeWidth": 1, "interpolate": "step-after"}
    area = on("q").mark_area(color=RATE, fillOpacity=0.4, interpolate="step-after", line=edge)
    layers = [area.encode(x=x, y=y)]
    if "p" in datasets:
        layers.append(on("p").mark_line(color=INK, strokeWidth=1.5).encode(x=x, y=y))
    return layers
