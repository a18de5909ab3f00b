"""The run's weights in the conventions of other projects."""

from __future__ import annotations

import math

from vaebalance.pages.kit.blocks import Block, Panel, Prose, Table
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import weight
from vaebalance.pages.report.inputs import Inputs
from vaebalance.porting.conventions import Scene, translate


def other_weights(inputs: Inputs) -> Panel:
    """Express the run's weights in the conventions of other projects."""
    anchor, short, title = "weights", "Other conventions", "This run in other projects' weights"
    if not inputs.model.is_variational:
        none = "A plain autoencoder has no KL term, so there is no balance to convert."
        return Panel(anchor, short, title, none, ())
    best = inputs.best
    alpha, beta = best["validation/alpha"], best["validation/beta"]
    scene = Scene(
        dimensions=math.prod(inputs.model.image_shape),
        latent_size=inputs.model.latent_size,
        rmse=float(inputs.evaluation["test"]["rmse"]),
        channels=inputs.model.image_shape[0],
    )
    found = translate(inputs.model.likelihood, alpha, beta, scene)
    reading = (
        f"This run (α = {weight(alpha)}, β = {weight(beta)} at epoch {int(best['epoch'])}) as "
        "other projects would write it: the same gradient up to a factor, to which Adam is nearly "
        "invariant. SSE, BCE and KL are summed over an image's dimensions, MSE and RMSE are means "
        "over its pixels; all are averaged over images."
    )
    blocks: list[Block] = [Prose(found.summary)]
    files = {}
    if found.rows:
        rows = tuple(
            (row.loss, f"{row.weight} = {weight(row.value)}", row.used_by) for row in found.rows
        )
        header = ("they minimise", "this run there", "seen in")
        blocks.append(Table(title, header, rows, numeric=(1,)))
        values = [(row.loss, row.weight, row.value, row.used_by) for row in found.rows]
        files = {"conventions.csv": as_csv(("loss", "weight", "value", "seen in"), values)}
    return Panel(anchor, short, title, reading, tuple(blocks), files)
