"""A study of a toy objective.

Run as a script: folder, URL of the database or "", sampler, trials, the process's name, with how
many others it waits at trial 0 until all are there, and the seconds a trial takes.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from vaebalance.evaluation.vocabulary import Better
from vaebalance.tuning.database_storage import DatabaseStorage, Rhythm
from vaebalance.tuning.journal import Journal, Trial
from vaebalance.tuning.search import Outcome, Plan, search
from vaebalance.tuning.space import Point, Range, Space, Value

BETA = "balance.beta"
SPACE = Space((Range(BETA, 0.05, 20.0),))


RHYTHM = Rhythm(heartbeat=1, grace=3, patience=30)


def open_journal(
    folder: Path, url: str | None = None, goals: Sequence[Better] = ("lower",)
) -> Journal:
    """A study in its folder, or in the database."""
    storage = DatabaseStorage(url, folder.name, "tune.storage", RHYTHM) if url else None
    return Journal(folder, goals, storage)


def valley(point: Point) -> float:
    weight = point[BETA]
    assert isinstance(weight, float)
    return 100 + math.log(weight / 0.7) ** 2 + 0.1 * math.sin(40 * weight)


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
    journal = open_journal(folder, url)
    plan = Plan(SPACE, sampler, 0, trials, None if start is None else {BETA: start})
    search(journal, plan, objective or (lambda t: Outcome((valley(t.point),), {})), Quiet())
    return journal.trials()


def pairs(trials: list[Trial]) -> list[tuple[int, Value, tuple[float, ...] | None]]:
    return [(trial.number, trial.point[BETA], trial.values) for trial in trials]


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder, url, sampler, trials, process, together, seconds = sys.argv[1:]
    looking = open_journal(Path(folder), url)

    def slow(trial: Trial) -> Outcome:
        print(f"trial {trial.number}", flush=True)
        while trial.number == 0 and len({t.worker for t in looking.trials()}) < int(together):
            time.sleep(0.01)
        time.sleep(float(seconds))
        return Outcome((valley(trial.point),), {"process": process})

    run(Path(folder), sampler, int(trials), slow, url=url)
