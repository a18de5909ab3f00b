"""Pictures in rows, one per run: reconstructions of the same images, samples of one noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed
from vaebalance.pages.comparison.compared_runs import ComparedRun
from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.kit.blocks import Panel, Strip, Strips
from vaebalance.pages.kit.decoded import decode, reconstruct
from vaebalance.pages.kit.words import counted, number, shortened
from vaebalance.pages.report.sample_images import examples, label_name, pixels
from vaebalance.settings import ReportSpec

STRIP_BYTES = 150_000
MARK_LENGTH = 8  # characters of a label over a column


def reconstructions(runs: Sequence[ComparedRun], spec: ReportSpec, seed: int) -> Panel:
    """Show reconstructions of the same test images by each run."""
    anchor = ("reconstructions", "Reconstructions", "The same images reconstructed by each run")
    seen = [(run, run.inputs) for run in runs if run.inputs is not None]
    if not seen:
        return Panel(*anchor, "data/prepared has the images of none of these runs.", ())
    first = seen[0][1]
    chosen = examples(first.codes.label.tolist(), spec.images)
    x = pixels(first, chosen, seed)
    rows = [("images", "", x)]
    for run, inputs in seen:
        decoded = reconstruct(inputs.model, x)
        mean = f"D {number(float(decoded.distortion.mean()), 3)}"
        rows.append((run.title, mean, decoded.pictures))
    names = [label_name(first, position) or f"#{position}" for position in chosen]
    missing = [run.letter for run in runs if run.inputs is None]
    without = f" data/prepared does not have the images of {', '.join(missing)}." if missing else ""
    return Panel(
        *anchor,
        "Reconstructions of the same test images, with the mean D of these images as each run's "
        f"likelihood defines it.{without}",
        (_strips(rows, [shortened(name, MARK_LENGTH) for name in names]),),
        _strip_files("reconstructions", rows, names),
    )


def samples(runs: Sequence[ComparedRun], spec: ReportSpec, seed: int) -> Panel:
    """Show samples that each run decodes from the same noise."""
    sizes = [run.evaluated.model.latent_size for run in runs]
    generator = torch.Generator().manual_seed(derive_seed(seed, "prior samples"))
    noise = torch.randn((spec.images, max(sizes)), generator=generator)
    rows = [
        (run.title, "", decode(run.evaluated.model, noise[:, : run.evaluated.model.latent_size]))
        for run in runs
    ]
    fewer = len(set(sizes)) > 1
    return Panel(
        "samples",
        "Samples",
        "The same draws from the prior",
        "Each column decodes one draw from N(0, I)"
        + ("; a run with fewer latents uses the first ones." if fewer else ".")
        + " The meaning of a latent differs between runs, so a column need not show one object.",
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
    if len(shapes) > 1:  # images of different sizes do not fit into one sheet
        return {}
    together = pictures.sheet(torch.stack([row for _, _, row in rows]))
    cut = [shortened(mark, MARK_LENGTH) for mark in marks]
    return pictures.files(name, together, [title for title, _, _ in rows], cut)
