"""The study's table: alive on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vaebalance.epochs import EpochReport
from vaebalance.tuning.journal import Trial
from vaebalance.tuning.space import Range

SYMBOLS = {"alpha": "α", "beta": "β"}
PLAIN_WIDTH = 100
ROOM = 8  # lines of a terminal that the table's frame and the lines below it need


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the least value; the earliest of equals."""
    finished = [trial for trial in trials if trial.value is not None]
    return min(finished, key=lambda trial: trial.value or 0.0, default=None)


def make_console() -> Console:
    """Standard output, as wide as the table when it is no terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def make_table(
    trials: Sequence[Trial],
    space: Range,
    is_running: Callable[[Trial], bool],
    rows: int | None = None,
) -> Table:
    """The trials by number, only the last `rows` of them if given; nats per image."""
    table = Table()
    table.add_column("trial", justify="right")
    for name in (SYMBOLS[space.weight], "D", "R", "D + R"):
        table.add_column(name, justify="right")
    table.add_column("", min_width=8)
    table.add_column("seconds", justify="right")
    best = best_of(trials)
    for trial in trials[-rows:] if rows else trials:
        is_best = best is not None and trial.number == best.number
        table.add_row(*_cells(trial, is_best, is_running), style="bold green" if is_best else None)
    return table


def _cells(trial: Trial, is_best: bool, is_running: Callable[[Trial], bool]) -> list[str]:
    first = [str(trial.number), f"{trial.weight:g}"]
    if trial.value is None:
        word = "diverged" if trial.state == "diverged" else "running"
        if trial.state == "running" and not is_running(trial):
            word = "stopped"
        return [*first, "", "", "", word, ""]
    results = trial.results
    numbers = (results["distortion"], results["rate"], trial.value)
    return [
        *first,
        *(f"{number:.2f}" for number in numbers),
        "★ best" if is_best else "",
        f"{results['seconds']:.1f}",
    ]


class Screen:
    """Shows a search as it goes; a `search.Listener`, and a consumer of epochs."""

    def __init__(
        self,
        console: Console,
        space: Range,
        title: str,
        wanted: int,
        epochs: int,
        is_running: Callable[[Trial], bool],
    ) -> None:
        self._console = console
        self._space = space
        self._title = title
        self._wanted = wanted
        self._epochs = epochs
        self._is_running = is_running
        self._trials: list[Trial] = []
        self._current = ""
        self._detail = ""
        self._seconds: list[float] = []
        self._since = time.perf_counter()
        self._is_waiting = False
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
        self._is_waiting = False
        self._since = time.perf_counter()
        self._current = f"trial {trial.number}: {SYMBOLS[self._space.weight]} = {trial.weight:g}"
        self._detail = ""
        if all(trial.number != known.number for known in self._trials):
            self._trials = [*self._trials, trial]

    def epoch(self, report: EpochReport) -> None:
        """An epoch of the trial that was started last."""
        validation = report.validation
        self._detail = (
            f", epoch {report.epoch}/{self._epochs}, D {validation.distortion:.2f}, "
            f"R {validation.rate:.2f}, D + R {validation.negative_elbo:.2f}"
        )

    def ended(self, trials: Sequence[Trial], number: int) -> None:
        """See `search.Listener`."""
        self._trials = list(trials)
        self._seconds.append(time.perf_counter() - self._since)
        if not self._console.is_terminal:
            trial = next(trial for trial in trials if trial.number == number)
            line = f"{self._current}: {_outcome(trial, trials)}; {self._progress()}"
            self._console.print(line, soft_wrap=True)

    def waiting(self, trials: Sequence[Trial]) -> None:
        """See `search.Listener`."""
        self._trials = list(trials)
        elsewhere = [str(trial.number) for trial in trials if trial.state == "running"]
        self._current = f"waiting for trial {', '.join(elsewhere)}, run by another process"
        self._detail = ""
        if not self._is_waiting and not self._console.is_terminal:
            self._console.print(self._current)
        self._is_waiting = True

    def _progress(self) -> str:
        finished = sum(trial.state == "finished" for trial in self._trials)
        left = self._wanted - finished
        text = f"{finished} of {self._wanted} finished"
        if left <= 0 or not self._seconds:
            return text
        each = sum(self._seconds) / len(self._seconds)
        return f"{text}, about {duration(each * left)} left"

    def render(self) -> Group:
        """What a terminal shows now."""
        rows = max(self._console.height - ROOM, 3)
        table = make_table(self._trials, self._space, self._is_running, rows)
        hidden = len(self._trials) - rows
        lines = [self._current + self._detail, self._progress()]
        if hidden > 0:
            lines.append(f"({hidden} earlier trials not shown)")
        return Group(Text(self._title), table, Text("\n".join(lines)))


def _outcome(trial: Trial, trials: Sequence[Trial]) -> str:
    if trial.value is None:
        return f"diverged ({trial.results['reason']})"
    results = trial.results
    best = best_of(trials)
    mark = ", the best so far" if best is not None and best.number == trial.number else ""
    return (
        f"D {results['distortion']:.2f}, R {results['rate']:.2f}, D + R {trial.value:.2f}{mark}, "
        f"{results['seconds']:.1f} s"
    )


def duration(seconds: float) -> str:
    """As a person would say it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
