"""Pictures from the decoder: reconstructions, traversals and prior samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.kit.blocks import Pair, Pairs, Panel, Sheet, Sheets, Strip, Strips
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.decoded import prior_samples, reconstruct, traverse
from vaebalance.pages.kit.words import counted, number, weight
from vaebalance.pages.report.inputs import Inputs, Latent
from vaebalance.pages.report.sample_images import (
    evenly,
    examples,
    image_name,
    label_name,
    most_typical,
    pixels,
)
from vaebalance.settings import ReportSpec

SAMPLE_COLUMNS = 10
MOST_TRAVERSED = 20
REACH = 3.0  # prior standard deviations of a traversal, on each side
SHEET_BYTES, STRIP_BYTES, PAIR_BYTES = 900_000, 60_000, 40_000


def reconstructions(inputs: Inputs, spec: ReportSpec, seed: int) -> Panel:
    """Show test images above their reconstructions."""
    chosen = examples(inputs.codes.label.tolist(), spec.images)
    x = pixels(inputs, chosen, seed)
    decoded = reconstruct(inputs.model, x)
    variational = inputs.model.is_variational
    pairs = []
    for position, original, picture, distortion, rate in zip(
        chosen, x, decoded.pictures, decoded.distortion, decoded.rate, strict=True
    ):
        title = image_name(inputs, position)
        image = pictures.sheet(torch.stack([original, picture])[:, None])
        alt = f"{title}: the original above its reconstruction"
        pairs.append(
            Pair(
                label_name(inputs, position) or f"#{int(inputs.codes.index[position])}",
                title,
                pictures.embed(image, alt, PAIR_BYTES),
                number(float(distortion), 3),
                number(float(rate), 3) if variational else None,
            )
        )
    header = ("image", "name", "D", "R")
    rows = [
        (int(inputs.codes.index[p]), image_name(inputs, p), float(d), float(r))[: 3 + variational]
        for p, d, r in zip(chosen, decoded.distortion, decoded.rate, strict=True)
    ]
    together = pictures.sheet(torch.stack([x, decoded.pictures]))
    return Panel(
        "reconstructions",
        "Reconstructions",
        "Reconstructions",
        "Above, the test image; below, its reconstruction (the mean of p(x|z) at z = E[z|x]). "
        "Details missing below are those that the rate was too low to encode. Under each pair: "
        + ("its D and R." if variational else "its D."),
        (Pairs(tuple(pairs)),),
        pictures.files("reconstructions", together, ("original", "reconstruction"))
        | {"reconstructions.csv": as_csv(header[: 3 + variational], rows)},
    )


def traversals(inputs: Inputs, spec: ReportSpec) -> Panel:
    """Vary one latent at a time over its range."""
    variational = inputs.model.is_variational
    codes = torch.from_numpy(inputs.codes.mean)
    typical = most_typical(codes)
    ordered = inputs.latents[:MOST_TRAVERSED]
    chosen = [latent.index for latent in ordered]
    steps = torch.linspace(-REACH, REACH, spec.traversal_steps)
    centre, spread = torch.zeros(len(chosen)), torch.ones(len(chosen))
    if not variational:
        centre, spread = codes.mean(0)[chosen], codes.std(0, correction=0)[chosen]
    values = centre[:, None] + steps * spread[:, None]
    decoded = traverse(inputs.model, codes[typical], chosen, values)
    marks = tuple(weight(round(float(step), 2)) for step in steps)
    strips = tuple(_strip(*row, ordered, marks) for row in zip(ordered, decoded, strict=True))
    scale, code, order = (
        ("prior standard deviations", "posterior mean", "rate")
        if variational
        else ("standard deviations of the codes around their mean", "code", "variance")
    )
    all_of_them = len(chosen) == inputs.model.latent_size
    shown = "" if all_of_them else f"; the first {len(chosen)} are shown"
    names = [f"{strip.name}  {strip.detail}".strip() for strip in strips]
    return Panel(
        "traversals",
        "Traversals",
        "Traversals",
        f"Each row moves one latent over ±{REACH:g} {scale}; the others stay at the {code} of one "
        f"test image, the most typical ({image_name(inputs, typical)}). The latent of highest "
        f"{order} comes first{shown}. If a row does not change, the decoder ignores the latent.",
        (Strips(strips, marks),),
        pictures.files("traversals", pictures.sheet(decoded), names, marks),
    )


def _strip(latent: Latent, row: Tensor, ordered: list[Latent], marks: tuple[str, ...]) -> Strip:
    """Show one latent's pictures [S, C, H, W] with a bar of its rate."""
    alt = f"{latent.name} from {marks[0]} to {marks[-1]} standard deviations"
    picture = pictures.embed(pictures.sheet(row[None]), alt, STRIP_BYTES)
    if math.isnan(latent.rate):
        return Strip(latent.name, "", 0.0, picture)
    detail = f"{number(latent.rate, 3)} nats" if latent.rate >= 0.01 else "< 0.01 nats"
    most = max(other.rate for other in ordered)
    return Strip(latent.name, detail, latent.rate / most if most > 0 else 0.0, picture)


def samples(inputs: Inputs, spec: ReportSpec, seed: int) -> Panel:
    """Decode draws from the prior."""
    drawn = prior_samples(inputs.model, spec.images * SAMPLE_COLUMNS, seed)
    image = pictures.sheet(drawn.unflatten(0, (spec.images, SAMPLE_COLUMNS)))
    if inputs.model.is_variational:
        title = "Samples from the prior"
        reading = (
            "Decoded draws from N(0, I). Pictures that do not resemble the data come from regions "
            "where the prior has mass but no image has its code."
        )
    else:
        title = "Samples without a prior"
        reading = (
            "A plain autoencoder has no prior to draw from. These codes are drawn from N(0, I) "
            "nevertheless: nothing keeps the codes of images there, so the decoder has not learned "
            "to decode it."
        )
    alt = f"{counted(len(drawn), 'decoded draw')} from N(0, I), in {SAMPLE_COLUMNS} columns"
    sheets = [Sheet("Decoded draws from N(0, I)", pictures.embed(image, alt, SHEET_BYTES))]
    beside = evenly(len(inputs.codes.index), len(drawn))
    if len(beside) == len(drawn):
        real = pixels(inputs, beside, seed).unflatten(0, (spec.images, SAMPLE_COLUMNS))
        alt = f"{counted(len(drawn), 'test image')}, in {SAMPLE_COLUMNS} columns"
        picture = pictures.embed(pictures.sheet(real), alt, SHEET_BYTES)
        sheets.append(Sheet("Test images, for comparison", picture))
    return Panel(
        "samples",
        "Samples",
        title,
        reading,
        (Sheets(tuple(sheets)),),
        pictures.files("samples", image),
    )
