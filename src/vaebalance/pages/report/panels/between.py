"""Pictures decoded between codes: a manifold of two latents, interpolations between images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.kit.blocks import Panel, Sheet, Sheets, Strip, Strips
from vaebalance.pages.kit.decoded import interpolate
from vaebalance.pages.kit.decoded import manifold as decode_manifold
from vaebalance.pages.kit.words import shortened, weight
from vaebalance.pages.report.inputs import Inputs
from vaebalance.pages.report.sample_images import examples, image_name, label_name, pixels
from vaebalance.settings import ReportSpec

MANIFOLD_BYTES, STRIP_BYTES = 1_200_000, 60_000
CELL = 44  # approximate side in pixels of a picture of the manifold
SHORT = 16  # characters of a label beside a row
IMAGE = "image"  # header of a column of test images


def manifold(inputs: Inputs, spec: ReportSpec) -> Panel:
    """Decode a grid over the two latents of highest rate."""
    variational, z = inputs.model.is_variational, inputs.codes.mean
    chosen = inputs.latents[:2]
    indices = [latent.index for latent in chosen]
    shares = (torch.arange(spec.manifold_steps, dtype=torch.float64) + 0.5) / spec.manifold_steps
    if variational:
        values = torch.special.ndtri(shares).float().expand(len(chosen), -1)
        centre = torch.zeros(inputs.model.latent_size)
    else:
        values = torch.from_numpy(np.quantile(z[:, indices], shares.numpy(), axis=0).T).float()
        centre = torch.from_numpy(z.mean(0))
    decoded = decode_manifold(inputs.model, centre, indices, values)
    first, second = chosen[0].name, chosen[-1].name
    plane = len(chosen) > 1
    what = f"{first} to the right" + (f", {second} upwards" if plane else "")
    image = pictures.sheet(decoded, cell=CELL, gap=2)
    alt = f"{decoded.shape[0] * decoded.shape[1]} decoded codes: {what}"
    marks = [weight(round(float(value), 2)) for value in values[0]]
    sides = [weight(round(float(value), 2)) for value in values[-1].flip(0)] if plane else ()
    quantiles = (
        "quantiles of N(0, 1): each picture represents the same share of the prior"
        if variational
        else "quantiles of the codes"
    )
    others = " The other latents are at 0, the prior's mean." if variational else ""
    others = others or " The other latents are at the mean of the codes."
    return Panel(
        "manifold",
        "Decoded manifold",
        f"The manifold of {first} and {second}" if plane else f"The line of {first}",
        f"Decoded codes, {what}, at equally probable {quantiles}."
        + (others if inputs.model.latent_size > len(chosen) else "")
        + " Pictures should change smoothly from one kind to the next.",
        (Sheets((Sheet(what, pictures.embed(image, alt, MANIFOLD_BYTES)),)),),
        pictures.files("manifold", image, sides, marks),
    )


def interpolations(inputs: Inputs, spec: ReportSpec, seed: int) -> Panel:
    """Interpolate between the codes of pairs of test images."""
    pairs = _pairs(inputs, spec.interpolations)
    starts, ends = [a for a, _ in pairs], [b for _, b in pairs]
    shares = torch.linspace(0, 1, spec.traversal_steps)
    marks = (IMAGE, *(weight(round(float(share), 2)) for share in shares), IMAGE)
    reading = (
        "Decoded codes along the straight line between two test images, which are shown at the "
        "ends; numbers are fractions of the way. If the middle resembles no image, there is a gap "
        "between the codes. The line is straight, not an arc (slerp), because posterior means, "
        "unlike draws from the prior, do not lie on a shell: collapsed latents are at 0."
    )
    panel = ("interpolations", "Interpolations", "From one image to another")
    if not pairs:
        why = "none were requested" if spec.interpolations == 0 else "there is only one test image"
        return Panel(*panel, f"No interpolations: {why}.", ())
    z = torch.from_numpy(inputs.codes.mean)
    between = interpolate(inputs.model, z[starts], z[ends], shares)
    first, last = (pixels(inputs, places, seed) for places in (starts, ends))
    rows = torch.cat([first[:, None], between, last[:, None]], dim=1)
    strips = tuple(_strip(inputs, pair, row) for pair, row in zip(pairs, rows, strict=True))
    names = [strip.name for strip in strips]
    return Panel(
        *panel,
        reading,
        (Strips(strips, marks),),
        pictures.files("interpolations", pictures.sheet(rows), names, marks),
    )


def _pairs(inputs: Inputs, count: int) -> list[tuple[int, int]]:
    """Pair the first half of the examples with the second, of other labels if possible."""
    chosen = examples(inputs.codes.label.tolist(), 2 * count)
    half = len(chosen) // 2
    return list(zip(chosen[:half], chosen[half : 2 * half], strict=True))


def _strip(inputs: Inputs, pair: tuple[int, int], row: Tensor) -> Strip:
    start, end = pair
    alt = f"{image_name(inputs, start)} turning into {image_name(inputs, end)}"
    picture = pictures.embed(pictures.sheet(row[None]), alt, STRIP_BYTES)
    names = [label_name(inputs, place) or f"#{int(inputs.codes.index[place])}" for place in pair]
    short = [shortened(name, SHORT) for name in names]
    return Strip(f"{short[0]} → {short[1]}", "", 0.0, picture)
