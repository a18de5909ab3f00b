"""Show a curve in the terminal: its table, and the β that the rules choose."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from vaebalance.curve.chosen_beta import best_of, best_own_of, knee_of
from vaebalance.curve.trace import CurveRow
from vaebalance.objectives.frontier import KNEE_RULE

COLUMNS = {
    "β": "beta",
    "D": "distortion",
    "R": "rate",
    "D + R": "negative_elbo",
    "D + βR": "weighted_loss",
    "nll": "nll",
    "calibrated nll": "calibrated_nll",
    "active": "active_units",
    "RMSE": "rmse",
    "PSNR dB": "psnr",
    "Fréchet": "sample_frechet",
}


def make_table(rows: Sequence[CurveRow], title: str) -> Table:
    """Build a table with a line for each β, without columns that do not apply."""
    table = Table(title=title)
    shown = {
        word: name
        for word, name in COLUMNS.items()
        if any(getattr(row, name) is not None for row in rows)
    }
    for word in shown:
        table.add_column(word, justify="right")
    for row in rows:
        table.add_row(*(f"{getattr(row, name):.4g}" for name in shown.values()))
    return table


def describe_choices(rows: Sequence[CurveRow]) -> str:
    """Describe the knee and the best nll of the validation split's rows, with warnings."""
    lines = []
    knee = knee_of(rows)
    if knee is None:
        lines.append("knee: none; D and R have no bend over this range")
    else:
        lines.append(
            f"knee: β = {knee.beta:.4g} (D {knee.distortion:.2f}, R {knee.rate:.2f}): {KNEE_RULE}; "
            "it moves with the range"
        )
    best = best_of(rows)
    lines.append(
        f"best: β = {best.beta:.4g}, the least calibrated nll, {best.calibrated_nll:.2f} nats per "
        "image"
    )
    own = best_own_of(rows)
    if own is not None:
        lines.append(
            f"(by the nll of the model's own likelihood: β = {own.beta:.4g}, {own.nll:.2f} nats)"
        )
    if best.beta in (rows[0].beta, rows[-1].beta):
        lines.append(
            f"warning: best is at the end of the range, so the optimum may lie beyond; widen "
            f"curve.{'low' if best.beta == rows[0].beta else 'high'}."
        )
    return "\n".join(lines)
