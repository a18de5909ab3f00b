"""A study of a toy objective."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from tests.helpers.forks import Forked
from vaebalance.evaluation.metrics import Better
from vaebalance.study.search.search import Attempt, Plan, Search
from vaebalance.study.space import Point, Range, Space, Value
from vaebalance.study.storage.journal import Journal
from vaebalance.study.storage.postgres_storage import DatabaseStorage, Rhythm
from vaebalance.study.trials import Outcome, Trial

BETA = "balance.beta"
SPACE = Space((Range(BETA, 0.05, 20.0),))


RHYTHM = Rhythm(heartbeat=1, grace=3, patience=30)


def open_journal(
    folder: Path, url: str | None = None, goals: Sequence[Better] = ("lower",)
) -> Journal:
    """Open the journal of a study in a folder or in a database."""
    storage = DatabaseStorage(url, folder.name, "tune.storage", RHYTHM) if url else None
    return Journal(folder, goals, storage)


def valley(point: Point) -> float:
    weight = point[BETA]
    assert isinstance(weight, float)
    return 100 + math.log(weight / 0.7) ** 2 + 0.1 * math.sin(40 * weight)


class OneByOne:
    """A trainer whose trials are calls of a function."""

    size = 1

    def __init__(self, objective: Callable[[Trial], Outcome]) -> None:
        self.objective = objective

    def start(self, trials: Sequence[Trial]) -> tuple[list[dict[int, Attempt]], None]:
        return [{trial.number: self.attempt(trial)} for trial in trials], None

    def attempt(self, trial: Trial) -> Attempt:
        yield from ()
        return self.objective(trial)


class Quiet:
    def started(self, trial: Trial) -> None: ...
    def ended(self, trials: object, number: int) -> None: ...
    def waiting(self, trials: object) -> None: ...
    def note(self, text: str) -> None: ...


def run(
    folder: Path,
    sampler: str = "gp",
    trials: int = 10,
    objective: Callable[[Trial], Outcome] | None = None,
    start: float | None = 1.0,
    url: str | None = None,
) -> list[Trial]:
    plan = Plan(SPACE, sampler, 0, trials, None if start is None else {BETA: start})
    search = Search(open_journal(folder, url), plan)
    trainer = OneByOne(objective or (lambda t: Outcome((valley(t.point),), {})))
    search.run_until_complete(trainer, Quiet())
    return search.trials()


def pairs(trials: list[Trial]) -> list[tuple[int, Value, tuple[float, ...] | None]]:
    return [(trial.number, trial.point[BETA], trial.values) for trial in trials]


def take_part(
    folder: Path,
    sampler: str,
    trials: int,
    process: str,
    together: int = 1,
    url: str | None = None,
    seconds: float = 0.05,
) -> None:
    """Run trials of `seconds` each in a process of that name, and print their numbers.

    Trial 0 waits until `together` processes take part.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    looking = open_journal(folder, url)

    def slow(trial: Trial) -> Outcome:
        print(f"trial {trial.number}", flush=True)
        while trial.number == 0 and len({t.worker for t in looking.trials()}) < together:
            time.sleep(0.01)
        time.sleep(seconds)
        return Outcome((valley(trial.point),), {"process": process})

    run(folder, sampler, trials, slow, url=url)


def hold(folder: Path, url: str | None) -> None:
    """Hold all locks of a study."""
    journal = open_journal(folder, url)
    with journal.lock:
        if url is None:
            journal._storage.writing.acquire()
        print("held", flush=True)
        time.sleep(60)


def spawn(folder, sampler, trials, name="a", together=1, url=None, seconds=0.05):
    """Start a process that runs trials of the study in `folder`."""
    return Forked(take_part, folder, sampler, trials, name, together, url, seconds)


def wait_until(condition, seconds=240):
    """Wait for `condition()`, and fail if it does not become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
