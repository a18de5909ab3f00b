"""A trial's weight -> params.yaml, with everything else in that file as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance.errors import UserError
from vaebalance.params_file import edit_number, rewrite
from vaebalance.tuning.cli import BEST, Choice
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.screen import SYMBOLS, best_of
from vaebalance.tuning.space import Range

EDGE = 0.02  # of the range's logarithm


def choose(trials: Sequence[Trial], choice: Choice) -> Trial:
    """The trial that `choice` means.

    Raises:
        UserError: it is not there, or has no value.
    """
    finished = {trial.number: trial for trial in trials if trial.state == "finished"}
    best = best_of(trials)
    if best is None:
        raise UserError("the study has no finished trial to promote; run it first.")
    if choice == BEST:
        return best
    if choice not in finished:
        states = {trial.number: trial.state for trial in trials}
        raise UserError(
            f"--promote {choice}: there is no finished trial of that number "
            f"({states.get(choice, 'no such trial')}); finished: "
            f"{', '.join(map(str, sorted(finished)))}."
        )
    return finished[choice]


def explain(trial: Trial, trials: Sequence[Trial], space: Range) -> str:
    """Why this trial, and what speaks against it."""
    symbol = SYMBOLS[space.weight]
    ranking = sorted((t for t in trials if t.value is not None), key=lambda t: t.value or 0.0)
    place = [t.number for t in ranking].index(trial.number)
    lines = [
        f"trial {trial.number}: {symbol} = {trial.weight:g}, validation D + R {trial.value:.4f} "
        f"nats per image (D {trial.results['distortion']:.4f}, R {trial.results['rate']:.4f}), "
        + (
            f"the least of {len(ranking)} finished trials"
            if place == 0
            else f"number {place + 1} of {len(ranking)} finished trials"
        ),
        f"searched: {symbol} from {space.low:g} to {space.high:g}",
    ]
    others = [t for t in ranking if t.number != trial.number]
    if others:
        other, what = others[0], "runner-up" if place == 0 else "best"
        difference = (other.value or 0.0) - (trial.value or 0.0)
        lines.insert(
            1, f"{what}: trial {other.number}, {symbol} = {other.weight:g}, {difference:+.4f} nats"
        )
    if place == 0:
        lines += _warn_of_edge(trial, ranking, space)
    return "\n".join(lines)


def _warn_of_edge(best: Trial, finished: Sequence[Trial], space: Range) -> list[str]:
    """A least value with nothing beyond it is no minimum."""
    weights = [trial.weight for trial in finished]
    position = space.fraction(best.weight)
    if position <= EDGE or best.weight == min(weights):
        side, key = "low", "tune.low"
    elif position >= 1 - EDGE or best.weight == max(weights):
        side, key = "high", "tune.high"
    else:
        return []
    return [
        f"warning: this is at the {side} edge of what was tried, so the optimum may lie beyond. "
        f"Try more trials, or move {key} and begin another study by a new name in tune.study."
    ]


def write_weight(path: Path, space: Range, weight: float) -> str:
    """Write `weight` into the file and return what changed as a unified diff, empty if nothing.

    Raises:
        UserError: the knob is not in the file, or is tied to other places of it.
    """
    return rewrite(path, lambda text: edit_number(text, space.knob, weight, path.name))
