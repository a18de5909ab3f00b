"""Choose runs by the names that users give."""

from __future__ import annotations

from collections.abc import Sequence

from vaebalance.base.errors import UserError
from vaebalance.tracking import RunSummary

MOST_LISTED = 20
ID_LENGTH = 8


def choose(names: Sequence[str], runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the run of each name, in the order of the names.

    Raises:
        UserError: a name matches no run or several, two names match one run, or a run is not
            evaluated.
    """
    chosen: list[RunSummary] = []
    for name in names:
        run = _find(name, runs)
        if run in chosen:
            raise UserError(f"{name!r} is a run that was already named: {describe(run)}.")
        if "evaluate" not in run.stages:
            raise UserError(
                f"{name!r} is not evaluated, so there is nothing to compare: {describe(run)}. Run "
                "`dvc repro` (or `dvc exp run`) with its parameters first."
            )
        chosen.append(run)
    return chosen


def _find(name: str, runs: Sequence[RunSummary]) -> RunSummary:
    """Find the run of a name; a full name takes precedence over the beginning of an id."""
    whole = [r for r in runs if name in (r.run_id, r.fingerprint, r.name, r.experiment)]
    partial = [r for r in runs if r.run_id.startswith(name) or r.fingerprint.startswith(name)]
    matches = whole or (partial if name else [])
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"{name!r} matches several runs; give a longer name:{listed(matches)}")
    raise UserError(f"{name!r} is not a run. Known runs:{listed(runs)}")


def listed(runs: Sequence[RunSummary]) -> str:
    """List the runs, one per line, starting with a newline."""
    if not runs:
        return " none. Run `dvc repro` first."
    lines = [f"\n         {describe(run)}" for run in runs[:MOST_LISTED]]
    more = len(runs) - MOST_LISTED
    return "".join([*lines, f"\n         … and {more} more" if more > 0 else ""])


def describe(run: RunSummary) -> str:
    """Describe a run by its id, name and experiment."""
    experiment = f", experiment {run.experiment}" if run.experiment else ""
    evaluated = "" if "evaluate" in run.stages else ", not evaluated"
    return f"{run.run_id[:ID_LENGTH]}  {run.name}{experiment}{evaluated}"
