"""Names as people give them -> runs."""

from __future__ import annotations

from collections.abc import Sequence

from vaebalance.base.errors import UserError
from vaebalance.tracking import RunSummary

MOST_LISTED = 20
ID_LENGTH = 8


def choose(names: Sequence[str], runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The run of each name, in their order.

    Raises:
        UserError: a name fits none of `runs`, or several, or two names one run, or a run is not
            evaluated.
    """
    chosen: list[RunSummary] = []
    for name in names:
        run = _find(name, runs)
        if run in chosen:
            raise UserError(f"{name!r} is a run that was named before: {describe(run)}.")
        if "evaluate" not in run.stages:
            raise UserError(
                f"{name!r} is not evaluated, so there is nothing to compare: {describe(run)}. Run "
                "`dvc repro` (or `dvc exp run`) with its parameters first."
            )
        chosen.append(run)
    return chosen


def _find(name: str, runs: Sequence[RunSummary]) -> RunSummary:
    """A whole name comes before the beginning of an id."""
    whole = [r for r in runs if name in (r.run_id, r.fingerprint, r.name, r.experiment)]
    begun = [r for r in runs if r.run_id.startswith(name) or r.fingerprint.startswith(name)]
    found = whole or (begun if name else [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{name!r} may be any of these runs, say more:{listed(found)}")
    raise UserError(f"{name!r} is no run. There are:{listed(runs)}")


def listed(runs: Sequence[RunSummary]) -> str:
    """A line a run, beginning with a new line."""
    if not runs:
        return " none. Run `dvc repro` first."
    lines = [f"\n         {describe(run)}" for run in runs[:MOST_LISTED]]
    more = len(runs) - MOST_LISTED
    return "".join([*lines, f"\n         … and {more} more" if more > 0 else ""])


def describe(run: RunSummary) -> str:
    """Id, name, and what else it is called."""
    experiment = f", experiment {run.experiment}" if run.experiment else ""
    evaluated = "" if "evaluate" in run.stages else ", not evaluated"
    return f"{run.run_id[:ID_LENGTH]}  {run.name}{experiment}{evaluated}"
