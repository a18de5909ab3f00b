"""The aggregate posterior of each latent beside the prior."""

from __future__ import annotations

from vaebalance.pages.figures.densities import density, density_chart
from vaebalance.pages.figures.export import files
from vaebalance.pages.kit.blocks import Charts, Key, Panel, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted, number
from vaebalance.pages.report.inputs import Inputs

MOST_LATENTS = 24
COLUMNS = 4  # of charts in the file


def aggregate_posterior(inputs: Inputs) -> Panel:
    """Draw the density of each latent, highest rate first."""
    variational, codes = inputs.model.is_variational, inputs.codes
    shown = inputs.latents[:MOST_LATENTS]
    densities = [
        density(codes.mean[:, j], codes.std[:, j], has_prior=variational)
        for j in (latent.index for latent in shown)
    ]
    drawn = tuple(
        density_chart(f"density_{latent.name}", latent.name, _unit(q.mean, q.std), q)
        for latent, q in zip(shown, densities, strict=True)
    )
    header = ("latent", "mean", "standard deviation", *(("overlap",) if variational else ()))
    values = [
        (latent.name, q.mean, q.std, *(() if q.overlap is None else (q.overlap,)))
        for latent, q in zip(shown, densities, strict=True)
    ]
    rows = tuple((name, *(number(value, 3) for value in numbers)) for name, *numbers in values)
    many = len(shown) < len(inputs.latents)
    first = f" The first {len(shown)} of {len(inputs.latents)} latents are shown." if many else ""
    images = counted(len(codes.index), "test image")
    return Panel(
        "posterior",
        "Aggregate posterior" if variational else "Distribution of codes",
        "The aggregate posterior and the prior" if variational else "The distribution of the codes",
        _reading(images, variational=variational) + first,
        (
            Charts(drawn, _legend(variational=variational), is_small=True),
            Table("Numbers of the densities", header, rows, (1, 2, 3)[: len(header) - 1], True),
        ),
        files("aggregate_posterior", drawn, COLUMNS)
        | {"aggregate_posterior.csv": as_csv(header, values)},
    )


def _unit(mean: float, std: float) -> str:
    return f"{mean:.2f} ± {std:.2f}".replace("-0.00", "0.00").replace("-", "−")


def _legend(*, variational: bool) -> tuple[Key, ...]:
    if not variational:
        return (Key("block rate", "codes"),)
    return Key("block rate", "aggregate posterior q(z)"), Key("line", "prior N(0, 1)")


def _reading(images: str, *, variational: bool) -> str:
    if not variational:
        return (
            f"The codes of {images}, latent by latent, with mean ± standard deviation. There is no "
            "prior that they should follow."
        )
    return (
        f"q(z), the mean of q(z|x) over {images}, and N(0, 1), latent by latent, with mean ± "
        "standard deviation of q(z). Where the line lies above the filled area, the prior has "
        "codes that no image has; a latent with little rate has collapsed onto the line."
    )
