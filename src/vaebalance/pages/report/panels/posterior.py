"""The aggregate posterior of each latent against the prior."""

from __future__ import annotations

from vaebalance.pages.figures.densities import density, density_chart
from vaebalance.pages.figures.export import files
from vaebalance.pages.kit.blocks import Charts, Key, Panel, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted, number
from vaebalance.pages.report.inputs import Inputs

MOST_LATENTS = 24
COLUMNS = 4  # of the file


def aggregate_posterior(inputs: Inputs) -> Panel:
    """Small multiples, the latent with the most rate first."""
    variational, codes = inputs.model.is_variational, inputs.codes
    shown = inputs.latents[:MOST_LATENTS]
    found = [
        density(codes.mean[:, j], codes.std[:, j], has_prior=variational)
        for j in (latent.index for latent in shown)
    ]
    drawn = tuple(
        density_chart(f"density_{latent.name}", latent.name, _unit(each.mean, each.std), each)
        for latent, each in zip(shown, found, strict=True)
    )
    header = ("latent", "mean", "standard deviation", *(("overlap",) if variational else ()))
    values = [
        (latent.name, each.mean, each.std, *(() if each.overlap is None else (each.overlap,)))
        for latent, each in zip(shown, found, strict=True)
    ]
    rows = tuple((name, *(number(value, 3) for value in numbers)) for name, *numbers in values)
    many = len(shown) < len(inputs.latents)
    first = f" The first {len(shown)} of {len(inputs.latents)} latents are shown." if many else ""
    images = counted(len(codes.index), "test image")
    return Panel(
        "posterior",
        "Aggregate posterior" if variational else "Distribution of codes",
        "The aggregate posterior against the prior"
        if variational
        else "How the codes are distributed",
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
            f"The codes of {images}, latent by latent, with their mean ± standard deviation. There "
            "is no prior that they should follow."
        )
    return (
        f"q(z), the mean of q(z|x) over {images}, against N(0, 1), latent by latent, with its mean "
        "± standard deviation. Where the line rises above the filled area, samples from the prior "
        "meet codes that no image has; a latent with little rate has collapsed onto the line."
    )
