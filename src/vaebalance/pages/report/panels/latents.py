"""The rate of each latent, and the codes in a plane."""

from __future__ import annotations

import numpy as np
import torch

from vaebalance.base.seeds import derive_seed
from vaebalance.pages.figures import charts
from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.figures.charts import Chart, Curve
from vaebalance.pages.figures.colours import MUTED, RATE
from vaebalance.pages.figures.export import files
from vaebalance.pages.figures.planes import planes
from vaebalance.pages.kit.blocks import Charts, Key, Label, Panel, Planes, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted, number
from vaebalance.pages.report.inputs import Inputs
from vaebalance.pages.report.sample_images import evenly, image_name
from vaebalance.settings import ReportSpec

ATLAS_BYTES = 1_500_000
MOST_CURVES = 12  # latents drawn over epochs


def latents(inputs: Inputs) -> Panel:
    """Show the rate and variance of each latent."""
    threshold = float(inputs.evaluation["settings"]["active_threshold"])
    variational = inputs.model.is_variational
    records = [
        {"latent": latent.name, "variance": latent.variance, "active": latent.active}
        | ({"rate": latent.rate} if variational else {})
        for latent in inputs.latents
    ]
    drawn = charts.rate_by_latent(records, has_rate=variational, threshold=threshold)
    drawn += _over_epochs(inputs)
    legend = (Key("dot rate", "active"), Key("dot muted", "inactive"))
    header = ("latent", *(("rate, nats",) if variational else ()), "Var(E[z|x])", "active")
    values = [
        (latent.name, *((latent.rate,) if variational else ()), latent.variance, latent.active)
        for latent in inputs.latents
    ]
    rows = tuple(
        (name, *(number(value, 3) for value in numbers), "yes" if active else "no")
        for name, *numbers, active in values
    )
    reading = (
        "The rate of each latent, KL(q(z|x) ‖ p(z)) averaged over test images, and how much its "
        "posterior mean varies from image to image. The model does not use a latent whose mean "
        "does not vary."
        if variational
        else "How much each latent varies from image to image. There is no rate, because there is "
        "no KL term; a latent that does not vary is inactive."
    )
    return Panel(
        "latents",
        "Latents",
        "What each latent carries",
        reading,
        (
            Charts(tuple(drawn), legend, is_wide=True),
            Table("All latents", header, rows, tuple(range(1, len(header) - 1)), is_folded=True),
        ),
        files("rate_by_latent", drawn, columns=1) | {"latents.csv": as_csv(header, values)},
    )


def _over_epochs(inputs: Inputs) -> list[Chart]:
    """Draw the rates of the latents of highest rate over epochs."""
    table = inputs.latent_rates
    if table is None or not inputs.model.is_variational:
        return []
    shown = inputs.latents[:MOST_CURVES]
    curves = [Curve(z.name, z.name, RATE if z.active else MUTED) for z in shown]
    unit = f"nats per image, validation; dotted: epoch {int(inputs.best['epoch'])}, which was kept"
    if len(shown) < len(inputs.latents):
        unit += f"; the first {len(shown)} latents"
    title = "Rate of each latent over epochs"
    return [charts.epochs("latent_rates", title, unit, table, curves, int(inputs.best["epoch"]))]


def latent_plane(inputs: Inputs, spec: ReportSpec, seed: int) -> Panel:
    """Show the posterior means of test images in a plane."""
    codes = inputs.codes
    chosen = np.array(evenly(len(codes.index), spec.scatter_images))
    labels, names = codes.label[chosen], inputs.label_names
    variational = inputs.model.is_variational
    projections = planes(
        codes.mean[chosen], has_prior=variational, seed=derive_seed(seed, "neighbour embedding")
    )
    drawn = tuple(charts.latent_plane(p.name, p, labels.tolist(), names) for p in projections)
    stored = inputs.dataset.images("test")[torch.from_numpy(codes.index[chosen])]
    counts = [int((labels == index).sum()) for index in range(len(names))]
    block = Planes(
        drawn,
        tuple(plane.reading for plane in projections),
        tuple(Label(i, name, counts[i]) for i, name in enumerate(names) if counts[i]),
        pictures.atlas(stored, ATLAS_BYTES),
        tuple(image_name(inputs, int(position)) for position in chosen),
    )
    what = "posterior mean" if variational else "code"
    prior = (
        " Dashed circles: one, two and three standard deviations of the prior, which contain 39, "
        "86 and 99 % of its samples in a plane; samples from empty regions inside them correspond "
        "to no image."
        if any(plane.has_prior for plane in projections)
        else ""
    )
    pairs = [files(chart.name, [chart], columns=1) for chart in drawn]
    return Panel(
        "plane",
        "Latent plane",
        "The codes in a plane",
        f"Each point is the {what} of one of {counted(len(chosen), 'test image')}"
        + (", coloured by label." if names else ".")
        + prior,
        (block,),
        {name: content for pair in pairs for name, content in pair.items()},
    )
