"""What a study leaves for people: trials.csv, figures, and numbers on its MLflow run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaebalance.base.files import replacing
from vaebalance.objectives.frontier import hypervolume
from vaebalance.objectives.objectives import AbstractObjective
from vaebalance.study.results.choice import chosen, finished, front, terms
from vaebalance.study.results.study_charts import charts, together
from vaebalance.study.space import Range, Space
from vaebalance.study.storage.journal import Trial
from vaebalance.tracking import StudyTracker

TABLE = "trials.csv"
EDGE = "frontier.csv"
FIGURES = "figures"
PAGE = "all.html"
FIXED = ("distortion", "rate", "negative_elbo", "weighted_loss")
LAST = ("best_epoch", "epochs", "verdict", "seconds", "threads", "reason")
ENDING = ("violation", "pruned_at")


def publish(
    tracker: StudyTracker,
    folder: Path,
    trials: Sequence[Trial],
    space: Space,
    objective: AbstractObjective,
    reference: tuple[float, float] | None,
) -> None:
    """Write tables and figures into `folder`; log them and the best numbers to the study's run.

    Doing it again changes nothing. The tables are what dvc.yaml's plot of the study reads.
    """
    write_table(folder / TABLE, trials, space)
    write_table(folder / EDGE, front(trials), space)
    for name in (TABLE, EDGE):
        tracker.log_artifacts(folder / name)
    done = finished(trials)
    if not done:
        return
    _draw(folder / FIGURES, trials, space, objective, reference)
    tracker.log_artifacts(folder / FIGURES, FIGURES)
    numbers: dict[str, float | None] = {
        "trials/finished": len(done),
        "trials/pruned": sum(trial.state == "pruned" for trial in trials),
        "trials/diverged": sum(trial.state == "diverged" for trial in trials),
    }
    if reference is not None:
        numbers["frontier/hypervolume"] = hypervolume(terms(done), reference)
        numbers["frontier/reference_distortion"] = reference[0]
        numbers["frontier/reference_rate"] = reference[1]
        numbers["frontier/trials"] = len(front(trials))
    best = chosen(trials, objective)
    if best is not None:
        word = "knee" if reference is not None else "best"
        keys = dict.fromkeys((*(goal.key for goal in objective.goals), "distortion", "rate"))
        numbers |= {f"{word}/{key}": best.results[key] for key in keys}
        numbers |= {
            f"{word}/{dimension.knob.rpartition('.')[2]}": float(best.point[dimension.knob])  # type: ignore[arg-type]
            for dimension in space.dimensions
            if isinstance(dimension, Range)
        }
        numbers[f"{word}/trial"] = best.number
    tracker.log_metrics(numbers, step=len(done))


def write_table(path: Path, trials: Sequence[Trial], space: Space) -> None:
    """One row a trial; nats per image."""
    kept = [key for trial in trials for key in trial.results]
    own = [key for key in dict.fromkeys(kept) if key not in (*FIXED, *LAST)]
    header = ["trial", *space.names, "state", *own, *FIXED, *ENDING, *LAST]
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            **trial.point,
            "state": trial.state,
            "violation": trial.violation,
            "pruned_at": max(trial.rungs) if trial.state == "pruned" else None,
            **{name: trial.results.get(name) for name in (*own, *FIXED, *LAST)},
        }
        for trial in trials
    ]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def _draw(
    folder: Path,
    trials: Sequence[Trial],
    space: Space,
    objective: AbstractObjective,
    reference: tuple[float, float] | None,
) -> None:
    """Each figure as PNG and as Vega-Lite, and all on a page that shows what is pointed at.

    The page needs no network.
    """
    drawn = charts(trials, space, objective, reference)
    with replacing(folder) as temporary:
        temporary.mkdir()
        together(drawn).save(str(temporary / PAGE), inline=True)
        for name, chart in drawn.items():
            chart.save(str(temporary / f"{name}.png"), ppi=144)
            (temporary / f"{name}.vl.json").write_text(chart.to_json(), encoding="utf-8")
