"""What a study leaves for people: trials.csv, a figure, and numbers on its MLflow run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaebalance.files import replacing
from vaebalance.tracking import StudyTracker
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.screen import SYMBOLS, best_of
from vaebalance.tuning.space import Range

TABLE = "trials.csv"
FIGURE = "study.png"


def publish(tracker: StudyTracker, folder: Path, trials: Sequence[Trial], space: Range) -> None:
    """Write table and figure into `folder` and log them, and the best numbers, to the study's run.

    Doing it again changes nothing.
    """
    write_table(folder / TABLE, trials, space)
    tracker.log_artifacts(folder / TABLE)
    finished = [trial for trial in trials if trial.state == "finished"]
    best = best_of(trials)
    if best is None:
        return
    draw(folder / FIGURE, finished, space)
    tracker.log_artifacts(folder / FIGURE)
    tracker.log_metrics(
        {
            "best/negative_elbo": best.value,
            "best/distortion": best.results["distortion"],
            "best/rate": best.results["rate"],
            f"best/{space.weight}": best.weight,
            "best/trial": best.number,
            "trials/finished": len(finished),
            "trials/diverged": sum(trial.state == "diverged" for trial in trials),
        },
        step=len(finished),
    )


def write_table(path: Path, trials: Sequence[Trial], space: Range) -> None:
    """One row a trial; nats per image."""
    results = (
        "distortion",
        "rate",
        "weighted_loss",
        "best_epoch",
        "epochs",
        "verdict",
        "seconds",
        "reason",
    )
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            space.weight: trial.weight,
            "state": trial.state,
            "negative_elbo": trial.value,
            **{name: trial.results.get(name) for name in results},
        }
        for trial in trials
    ]
    header = ["trial", space.weight, "state", "negative_elbo", *results]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, finished: Sequence[Trial], space: Range) -> None:
    """The finished trials: objective against weight, and the rate–distortion plane, as PNG."""
    import altair as alt

    symbol, best = SYMBOLS[space.weight], best_of(finished)
    rows = [
        {
            "weight": trial.weight,
            "D + R": trial.value,
            "D": trial.results["distortion"],
            "R": trial.results["rate"],
            "best": best is not None and trial.number == best.number,
        }
        for trial in finished
    ]
    base = alt.Chart(alt.InlineData(values=rows)).properties(width=330, height=260)
    log = alt.Scale(type="log", domain=[space.low, space.high], nice=False)
    near, unit = alt.Scale(zero=False), "nats per image"
    size = alt.condition("datum.best", alt.value(160), alt.value(45))
    objective = base.mark_point(filled=True, opacity=1).encode(
        x=alt.X("weight:Q", title=symbol, scale=log),
        y=alt.Y("D + R:Q", title=f"validation D + R, {unit}", scale=near),
        size=size,
        color=alt.condition("datum.best", alt.value("#d62728"), alt.value("#1f77b4")),
    )
    plane = base.mark_point(filled=True, opacity=1).encode(
        x=alt.X("R:Q", title=f"rate R, {unit}", scale=near),
        y=alt.Y("D:Q", title=f"distortion D, {unit}", scale=near),
        size=size,
        color=alt.Color("weight:Q", title=symbol, scale=alt.Scale(type="log", scheme="viridis")),
    )
    with replacing(path) as temporary:
        (objective | plane).resolve_scale(color="independent").save(str(temporary), ppi=144)
