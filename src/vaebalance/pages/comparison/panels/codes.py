"""What each run does with its latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vaebalance.pages.comparison.compared_runs import Contender
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


def rates(contenders: Sequence[Contender]) -> Panel:
    """The rate of each latent, on one scale."""
    anchor = ("rates", "Rate of latents", "Rate of each latent")
    shown = [c for c in contenders if c.evaluated.model.is_variational]
    if not shown:
        return Panel(*anchor, "Plain autoencoders have no rate.", ())
    top = max(latent.rate for c in shown for latent in c.evaluated.latents) or 1.0
    drawn = tuple(
        charts.rates(
            f"rates_{contender.letter}",
            contender.title,
            [
                {"latent": z.name, "rate": z.rate, "variance": z.variance, "active": z.active}
                for z in contender.evaluated.latents
            ],
            top,
        )
        for contender in shown
    )
    rows = [
        (contender.letter, latent.name, latent.rate, latent.variance, latent.active)
        for contender in shown
        for latent in contender.evaluated.latents
    ]
    return Panel(
        *anchor,
        "In nats per image, the most first, on one scale. Where few latents have all the rate, the "
        "others have collapsed.",
        (Charts(drawn, (Key("dot rate", "active"), Key("dot muted", "inactive"))),),
        files("rate_by_latent", drawn, columns=2)
        | {"latents.csv": as_csv(("run", "latent", "rate, nats", "Var(E[z|x])", "active"), rows)},
    )


def latent_planes(contenders: Sequence[Contender], spec: ReportSpec) -> Panel:
    """Where each run puts the same test images."""
    anchor = ("planes", "Latent planes", "The same images in each latent space")
    seen = [(c, c.inputs) for c in contenders if c.inputs is not None]
    if not seen:
        return Panel(*anchor, "The images of none of these runs are in data/prepared.", ())
    first = seen[0][1]
    seen = [(c, i) for c, i in seen if np.array_equal(i.codes.index, first.codes.index)]
    chosen = np.array(evenly(len(first.codes.index), spec.scatter_images))
    labels, names = first.codes.label[chosen], first.label_names
    drawn, readings = [], []
    for contender, inputs in seen:
        has_prior = inputs.model.is_variational
        found = first_plane(inputs.codes.mean[chosen], has_prior=has_prior)
        name = f"latent_plane_{contender.letter}"
        chart = charts.latent_plane(name, found, labels.tolist(), names)
        drawn.append(replace(chart, title=contender.title))
        readings.append(found.title + ". " + found.reading)
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
        f"The codes of {counted(len(chosen), 'test image')} in each run; an image that is pointed "
        "at in one is marked in all. Dashed circles: one, two and three standard deviations of the "
        "prior.",
        (block,),
        files("latent_planes", drawn, columns=math.ceil(math.sqrt(len(drawn)))),
    )
