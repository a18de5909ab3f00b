"""The latents of each run: their rates, and the codes in a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vaebalance.pages.comparison.compared_runs import ComparedRun
from vaebalance.pages.figures import charts
from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.figures.export import files
from vaebalance.pages.figures.planes import first_plane
from vaebalance.pages.kit.blocks import Charts, Key, Label, Panel, Planes
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import counted
from vaebalance.pages.report.sample_images import evenly, image_name
from vaebalance.settings import ReportSpec

ATLAS_BYTES = 1_500_000


def rates(runs: Sequence[ComparedRun]) -> Panel:
    """Show the rate of each latent of each run, on one scale."""
    anchor = ("rates", "Rate of latents", "Rate of each latent")
    shown = [run for run in runs if run.evaluated.model.is_variational]
    if not shown:
        return Panel(*anchor, "Plain autoencoders have no rate.", ())
    top = max(latent.rate for run in shown for latent in run.evaluated.latents) or 1.0
    drawn = tuple(
        charts.rates(
            f"rates_{run.letter}",
            run.title,
            [
                {"latent": z.name, "rate": z.rate, "variance": z.variance, "active": z.active}
                for z in run.evaluated.latents
            ],
            top,
        )
        for run in shown
    )
    rows = [
        (run.letter, latent.name, latent.rate, latent.variance, latent.active)
        for run in shown
        for latent in run.evaluated.latents
    ]
    return Panel(
        *anchor,
        "In nats per image, highest first, on one scale. If a few latents have all the rate, the "
        "others have collapsed.",
        (Charts(drawn, (Key("dot rate", "active"), Key("dot muted", "inactive"))),),
        files("rate_by_latent", drawn, columns=2)
        | {"latents.csv": as_csv(("run", "latent", "rate, nats", "Var(E[z|x])", "active"), rows)},
    )


def latent_planes(runs: Sequence[ComparedRun], spec: ReportSpec) -> Panel:
    """Show the codes of the same test images in each run."""
    anchor = ("planes", "Latent planes", "The same images in each latent space")
    seen = [(run, run.inputs) for run in runs if run.inputs is not None]
    if not seen:
        return Panel(*anchor, "data/prepared has the images of none of these runs.", ())
    first = seen[0][1]
    seen = [(c, i) for c, i in seen if np.array_equal(i.codes.index, first.codes.index)]
    chosen = np.array(evenly(len(first.codes.index), spec.scatter_images))
    labels, names = first.codes.label[chosen], first.label_names
    drawn, readings = [], []
    for run, inputs in seen:
        has_prior = inputs.model.is_variational
        plane = first_plane(inputs.codes.mean[chosen], has_prior=has_prior)
        name = f"latent_plane_{run.letter}"
        chart = charts.latent_plane(name, plane, labels.tolist(), names)
        drawn.append(replace(chart, title=run.title))
        readings.append(plane.title + ". " + plane.reading)
    counts = [int((labels == index).sum()) for index in range(len(names))]
    stored = first.dataset.images("test")[torch.from_numpy(first.codes.index[chosen])]
    block = Planes(
        tuple(drawn),
        tuple(readings),
        tuple(Label(i, name, counts[i]) for i, name in enumerate(names) if counts[i]),
        pictures.atlas(stored, ATLAS_BYTES),
        tuple(image_name(first, int(position)) for position in chosen),
    )
    return Panel(
        *anchor,
        f"The codes of {counted(len(chosen), 'test image')} in each run. Pointing at an image in "
        "one run marks it in all. Dashed circles: one, two and three standard deviations of the "
        "prior.",
        (block,),
        files("latent_planes", drawn, columns=math.ceil(math.sqrt(len(drawn)))),
    )
