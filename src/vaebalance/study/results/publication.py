"""Publish a study for people: trials.csv, figures, and numbers on its MLflow run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebalance.base.files import replacing, write_csv
from vaebalance.objectives.frontier import hypervolume
from vaebalance.study.results.choice import chosen, finished, front, terms
from vaebalance.study.results.study_charts import charts, together
from vaebalance.study.space import Range, Space
from vaebalance.study.study import Study
from vaebalance.study.trials import Trial
from vaebalance.tracking import StudyTracker

if TYPE_CHECKING:
    import altair as alt

TABLE = "trials.csv"
EDGE = "frontier.csv"
FIGURES = "figures"
PAGE = "all.html"
FIXED = ("distortion", "rate", "negative_elbo", "weighted_loss")
LAST = ("best_epoch", "epochs", "verdict", "seconds", "threads", "reason")
ENDING = ("violation", "pruned_at")


def publish(study: Study, tracker: StudyTracker) -> None:
    """Write tables and figures to the study's folder; log them and the best numbers to its run.

    Publishing again changes nothing. dvc.yaml's plot of the study reads the tables.
    """
    with study.publishing:  # another start may end at the same time
        folder, trials = study.folder, study.trials()
        write_table(folder / TABLE, trials, study.space)
        write_table(folder / EDGE, front(trials), study.space)
        for name in (TABLE, EDGE):
            tracker.log_artifacts(folder / name)
        if done := finished(trials):
            _draw(folder / FIGURES, charts(trials, study.space, study.objective, study.reference))
            tracker.log_artifacts(folder / FIGURES, FIGURES)
            tracker.log_metrics(_numbers(study, trials), step=len(done))


def _numbers(study: Study, trials: Sequence[Trial]) -> dict[str, float | None]:
    """Return the numbers of the study's run."""
    done, reference = finished(trials), study.reference
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
    best = chosen(trials, study.objective)
    if best is not None:
        word = "knee" if reference is not None else "best"
        keys = dict.fromkeys((*(goal.key for goal in study.objective.goals), "distortion", "rate"))
        numbers |= {f"{word}/{key}": best.results[key] for key in keys}
        numbers |= {
            f"{word}/{dimension.knob.rpartition('.')[2]}": float(best.point[dimension.knob])  # type: ignore[arg-type]
            for dimension in study.space.dimensions
            if isinstance(dimension, Range)
        }
        numbers[f"{word}/trial"] = best.number
    return numbers


def write_table(path: Path, trials: Sequence[Trial], space: Space) -> None:
    """Write one row for each trial; nats per image."""
    kept = [key for trial in trials for key in trial.results]
    results = [key for key in dict.fromkeys(kept) if key not in (*FIXED, *LAST)]
    header = ["trial", *space.names, "state", *results, *FIXED, *ENDING, *LAST]
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            **trial.point,
            "state": trial.state,
            "violation": trial.violation,
            "pruned_at": max(trial.rungs) if trial.state == "pruned" else None,
            **{name: trial.results.get(name) for name in (*results, *FIXED, *LAST)},
        }
        for trial in trials
    ]
    write_csv(path, header, ([row.get(name) for name in header] for row in rows))


def _draw(folder: Path, drawn: Mapping[str, alt.TopLevelMixin]) -> None:
    """Write each figure as PNG and as Vega-Lite, and a page of all with tooltips.

    The page needs no network.
    """
    with replacing(folder) as temporary:
        temporary.mkdir()
        together(drawn).save(str(temporary / PAGE), inline=True)
        for name, chart in drawn.items():
            chart.save(str(temporary / f"{name}.png"), ppi=144)
            (temporary / f"{name}.vl.json").write_text(chart.to_json(), encoding="utf-8")
