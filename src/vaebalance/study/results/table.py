"""Show a study's table, live on a terminal; elsewhere print one line for each trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vaebalance.base.reports import EpochReport
from vaebalance.evaluation.metrics import NATS
from vaebalance.objectives.objectives import AbstractObjective, Frontier
from vaebalance.study.results.choice import chosen, front
from vaebalance.study.space import Space, shown
from vaebalance.study.trials import ENDED, Trial
from vaebalance.terminal.console import say

ROOM = 8  # terminal lines for the table's frame and the lines below it


@dataclass(frozen=True)
class View:
    """What a table shows of a study besides its trials."""

    space: Space
    objective: AbstractObjective
    is_running: Callable[[Trial], bool]


def make_table(trials: Sequence[Trial], view: View, rows: int | None = None) -> Table:
    """Build the table of the trials, or of the last `rows`; nats per image."""
    table = Table()
    table.add_column("trial", justify="right")
    for name in (*view.space.names.values(), "D", "R", *_own_columns(view.objective)):
        table.add_column(name, justify="right")
    table.add_column("", min_width=8)
    table.add_column("seconds", justify="right")
    best = chosen(trials, view.objective)
    edge = {trial.number for trial in front(trials)} if _is_frontier(view.objective) else set()
    for trial in trials[-rows:] if rows else trials:
        is_best = best is not None and trial.number == best.number
        mark = _mark(trial, view.objective, is_best=is_best, on_front=trial.number in edge)
        style = "bold green" if is_best else None
        table.add_row(*_cells(trial, view, mark), style=style)
    return table


def _own_columns(objective: AbstractObjective) -> list[str]:
    """Return the goals that are not columns of every table."""
    return [goal.key for goal in objective.goals if goal.key not in ("distortion", "rate")]


def _is_frontier(objective: AbstractObjective) -> bool:
    return isinstance(objective, Frontier)


def _mark(trial: Trial, objective: AbstractObjective, *, is_best: bool, on_front: bool) -> str:
    if is_best:
        return "★ knee" if _is_frontier(objective) else "★ best"
    if trial.violation is not None and trial.violation > 0:
        return "misses"
    return "frontier" if on_front else ""


def _cells(trial: Trial, view: View, mark: str) -> list[str]:
    first = [str(trial.number), *(shown(trial.point[knob]) for knob in view.space.names)]
    columns = _own_columns(view.objective)
    if trial.values is None:
        word: str = trial.state
        if word == "running" and not view.is_running(trial):
            word = "stopped"
        return [*first, "", "", *("" for _ in columns), word, ""]
    results = trial.results
    numbers = [
        *(f"{results[key]:.2f}" for key in ("distortion", "rate")),
        *(f"{results[key]:.5g}" for key in columns),
    ]
    return [*first, *numbers, mark, f"{results['seconds']:.1f}"]


class Screen:
    """Shows a search and its epochs; a `search.Listener`.

    Several trials may run at once, in worker processes.
    """

    def __init__(self, console: Console, view: View, title: str, wanted: int, epochs: int) -> None:
        self._console = console
        self._view = view
        self._title = title
        self._wanted = wanted
        self._epochs = epochs
        self._trials: list[Trial] = []
        self._current: dict[int, str] = {}  # trial -> its progress
        self._waiting = ""
        self._notes: set[str] = set()
        self._ended = 0
        self._began: float | None = None  # when the first trial did
        self._live = Live(console=console, transient=True, get_renderable=self.render)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def started(self, trial: Trial) -> None:
        """See `search.Listener`."""
        self._waiting = ""
        self._began = self._began or time.perf_counter()
        self._current[trial.number] = ""
        if all(trial.number != known.number for known in self._trials):
            self._trials = [*self._trials, trial]

    def epoch(self, number: int, report: EpochReport) -> None:
        """Show an epoch of a running trial."""
        validation = report.validation
        self._current[number] = (
            f", epoch {report.epoch}/{self._epochs}, D {validation.distortion:.2f}, "
            f"R {validation.rate:.2f}, D + R {validation.negative_elbo:.2f}"
        )

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """See `search.Listener`."""
        self._trials = list(trials)
        self._current.pop(number, None)
        self._ended += 1
        if not self._console.is_terminal:
            trial = next(trial for trial in trials if trial.number == number)
            line = f"{self._name(trial)}: {self._outcome(trial)}; {self._progress()}"
            say(self._console, line)

    def waiting(self, trials: Sequence[Trial]) -> None:
        """See `search.Listener`."""
        self._trials = list(trials)
        elsewhere = [str(trial.number) for trial in trials if trial.state == "running"]
        said, self._waiting = self._waiting, _elsewhere(elsewhere)
        if not said and not self._console.is_terminal:
            self._console.print(self._waiting)

    def note(self, text: str) -> None:
        """See `search.Listener`."""
        if text not in self._notes:  # several workers may report it
            self._notes.add(text)
            say(self._console, text)

    def lost(self, number: int) -> None:
        """Drop a trial whose worker is gone."""
        self._current.pop(number, None)

    def _name(self, trial: Trial) -> str:
        return f"trial {trial.number}: {self._view.space.describe(trial.point)}"

    def _outcome(self, trial: Trial) -> str:
        if trial.state == "pruned":
            return f"pruned after epoch {max(trial.rungs)}, where others do better"
        if trial.values is None:
            return f"diverged ({trial.results['reason']})"
        objective, results = self._view.objective, trial.results
        best = chosen(self._trials, objective)
        marks = {
            f", the {'knee' if _is_frontier(objective) else 'best'} so far": best == trial,
            f", misses its target by {trial.violation or 0:.3g}": (trial.violation or 0) > 0,
        }
        return (
            f"D {results['distortion']:.2f}, R {results['rate']:.2f}"
            + "".join(f", {key} {results[key]:.5g}" for key in _own_columns(objective))
            + "".join(mark for mark, applies in marks.items() if applies)
            + f", {results['seconds']:.1f} s"
        )

    def _progress(self) -> str:
        ended = sum(trial.state in ENDED for trial in self._trials)
        left = self._wanted - ended
        text = f"{ended} of {self._wanted} ended"
        if left <= 0 or not self._ended or self._began is None:
            return text
        seconds = (time.perf_counter() - self._began) / self._ended
        return f"{text}, about {duration(seconds * left)} left"

    def render(self) -> Group:
        """Render what a terminal shows now."""
        rows = max(self._console.height - ROOM - len(self._current), 3)
        table = make_table(self._trials, self._view, rows)
        hidden = len(self._trials) - rows
        trials = {trial.number: trial for trial in self._trials}
        lines = [f"{self._name(trials[n])}{detail}" for n, detail in self._current.items()]
        lines += [self._waiting] if self._waiting else []
        lines.append(self._progress())
        if hidden > 0:
            lines.append(f"({hidden} earlier trials not shown)")
        return Group(Text(self._title), table, Text("\n".join(lines)))


def _elsewhere(numbers: Sequence[str]) -> str:
    return f"waiting for trial {', '.join(numbers)}, run by another process"


def describe_goals(objective: AbstractObjective) -> str:
    """Describe what the objective minimises or maximises."""
    parts = [
        ("least " if goal.better == "lower" else "largest ")
        + goal.name
        + (", nats per image" if goal.unit == NATS else f", {goal.unit}" if goal.unit else "")
        for goal in objective.goals
    ]
    return " and ".join(parts)


def duration(seconds: float) -> str:
    """Format a duration for people."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
