"""Pictures in rows, a run each: of the same images, of the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed
from vaebalance.pages.comparison.compared_runs import Contender
from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.kit.blocks import Panel, Strip, Strips
from vaebalance.pages.kit.decoded import decode, reconstruct
from vaebalance.pages.kit.words import counted, number, shortened
from vaebalance.pages.report.sample_images import examples, label_name, pixels
from vaebalance.settings import ReportSpec

STRIP_BYTES = 150_000
MARK_LENGTH = 8  # characters of a label over a column


def reconstructions(contenders: Sequence[Contender], spec: ReportSpec, seed: int) -> Panel:
    """The same test images through each run."""
    anchor = ("reconstructions", "Reconstructions", "The same images through each run")
    seen = [(c, c.inputs) for c in contenders if c.inputs is not None]
    if not seen:
        return Panel(*anchor, "The images of none of these runs are in data/prepared.", ())
    first = seen[0][1]
    chosen = examples(first.codes.label.tolist(), spec.images)
    x = pixels(first, chosen, seed)
    rows = [("images", "", x)]
    for contender, inputs in seen:
        decoded = reconstruct(inputs.model, x)
        mean = f"D {number(float(decoded.distortion.mean()), 3)}"
        rows.append((contender.title, mean, decoded.pictures))
    names = [label_name(first, position) or f"#{position}" for position in chosen]
    missing = [contender.letter for contender in contenders if contender.inputs is None]
    without = f" The images of {', '.join(missing)} are not in data/prepared." if missing else ""
    return Panel(
        *anchor,
        "What each decoder makes of its code of the same test image, with the mean of these "
        f"images' D as its likelihood defines it.{without}",
        (_strips(rows, [shortened(name, MARK_LENGTH) for name in names]),),
        _strip_files("reconstructions", rows, names),
    )


def samples(contenders: Sequence[Contender], spec: ReportSpec, seed: int) -> Panel:
    """What each decoder makes of the same noise."""
    sizes = [contender.evaluated.model.latent_size for contender in contenders]
    generator = torch.Generator().manual_seed(derive_seed(seed, "prior samples"))
    noise = torch.randn((spec.images, max(sizes)), generator=generator)
    rows = [
        (c.title, "", decode(c.evaluated.model, noise[:, : c.evaluated.model.latent_size]))
        for c in contenders
    ]
    fewer = len(set(sizes)) > 1
    return Panel(
        "samples",
        "Samples",
        "The same draws from the prior",
        "Each column decodes one draw from N(0, I)"
        + (", of which a run with fewer latents takes the first ones." if fewer else ".")
        + " What a latent means differs from run to run, so columns need not show the same thing.",
        (_strips(rows, [str(column + 1) for column in range(spec.images)]),),
        _strip_files("samples", rows, ()),
    )


def _strips(rows: Sequence[tuple[str, str, Tensor]], marks: Sequence[str]) -> Strips:
    return Strips(
        tuple(
            Strip(
                name,
                detail,
                0.0,
                pictures.embed(
                    pictures.sheet(row[None]),
                    f"{name}: {counted(len(row), 'picture')}",
                    STRIP_BYTES,
                ),
            )
            for name, detail, row in rows
        ),
        tuple(marks),
    )


def _strip_files(
    name: str, rows: Sequence[tuple[str, str, Tensor]], marks: Sequence[str]
) -> dict[str, bytes]:
    shapes = {tuple(row.shape[1:]) for _, _, row in rows}
    if len(shapes) > 1:  # images of different sizes stand in no one sheet
        return {}
    together = pictures.sheet(torch.stack([row for _, _, row in rows]))
    cut = [shortened(mark, MARK_LENGTH) for mark in marks]
    return pictures.files(name, together, [title for title, _, _ in rows], cut)
