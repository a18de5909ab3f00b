"""What the arguments of pipelines/tune.py ask for: search, list or promote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import optuna
from rich.console import Console

from vaebalance import tracking
from vaebalance.errors import UserError
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.tracking.store import project_root
from vaebalance.tuning.cli import Choice, Options
from vaebalance.tuning.journal import FILE, SUBJECT, Journal, Trial
from vaebalance.tuning.objective import tracked_objective
from vaebalance.tuning.presence import is_present
from vaebalance.tuning.promotion import choose, explain, write_weight
from vaebalance.tuning.publication import FIGURE, TABLE, publish
from vaebalance.tuning.screen import SYMBOLS, Screen, best_of, make_console, make_table
from vaebalance.tuning.search import Plan, is_complete, search
from vaebalance.tuning.space import Range
from vaebalance.tuning.subject import (
    Subject,
    describe_subject,
    fingerprint,
    open_prepared,
    refuse_other_subject,
    refuse_pointless,
    remember,
    search_space,
    space_of,
    start_of,
)

STUDIES = "studies"
COMMAND = "python pipelines/tune.py"
PROMOTED = "promoted"


def run(options: Options) -> None:
    """Do what was asked for.

    Raises:
        UserError: the settings, the data or the study do not allow it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = load(Settings)
    folder = project_root() / STUDIES / settings.tune.study
    console = make_console()
    if options.list:
        _show(settings, open_existing(folder), console)
    elif options.promote is not None:
        promote(settings, open_existing(folder), options.promote, console)
    else:
        run_study(settings, folder, console)


def open_existing(folder: Path) -> Journal:
    """The study in `folder`.

    Raises:
        UserError: there is none.
    """
    if not (folder / FILE).exists():
        found = sorted(path.parent.name for path in folder.parent.glob(f"*/{FILE}"))
        raise UserError(
            f"tune.study = {folder.name!r}: there is no such study yet in {folder.parent} "
            f"(there: {', '.join(found) or 'none'}); begin it with `{COMMAND}`."
        )
    journal = Journal(folder)
    if SUBJECT not in journal.notes:
        raise UserError(f"{folder / FILE}: an empty study; begin it with `{COMMAND}`.")
    return journal


def run_study(settings: Settings, folder: Path, console: Console) -> None:
    """Run trials until there are enough; Ctrl-C keeps what is finished."""
    journal, subject, plan = begin(settings, folder)
    space = plan.space
    if plan.start is None:
        _say(
            console,
            f"note: {space.knob} was not from {space.low:g} to {space.high:g} when the study "
            "began, so trial 0 is the sampler's.",
        )
    if is_complete(journal.trials(), plan):
        _say(
            console,
            f"the study {journal.name!r} has its {plan.trials} finished trials; raise tune.trials "
            "for more.",
        )
    screen = Screen(
        console, space, _title(journal), plan.trials, settings.train.epochs, _is_running(journal)
    )
    dataset = open_prepared(settings)
    with tracking.study(journal.name, subject) as tracker:
        objective = tracked_objective(
            settings, dataset, tracker, fingerprint(subject), screen.epoch
        )
        try:
            with screen:
                search(journal, plan, objective, screen)
        except KeyboardInterrupt:
            _show(settings, journal, console)
            _say(console, f"stopped; no finished trial is lost. Go on with `{COMMAND}`.")
            publish(tracker, folder, journal.trials(), space)
            raise
        publish(tracker, folder, journal.trials(), space)
    _show(settings, journal, console)
    _say(
        console,
        f"Its table and figure: {TABLE}, {FIGURE} in {_short(folder)}. Take over the best weight "
        f"with `{COMMAND} --promote best`.",
    )


def begin(settings: Settings, folder: Path) -> tuple[Journal, Subject, Plan]:
    """The study in `folder`, new or to be continued.

    Raises:
        UserError: it makes no sense, or was begun with other settings or data.
    """
    refuse_pointless(settings)
    subject, space = describe_subject(settings, open_prepared(settings)), search_space(settings)
    journal = Journal(folder)
    current: float = getattr(settings.balance, settings.tune.parameter)
    with journal.lock:
        if SUBJECT not in journal.notes:
            remember(journal, subject, space, current)
    refuse_other_subject(journal, subject)
    tune = settings.tune
    return (
        journal,
        subject,
        Plan(space, tune.sampler, settings.seed, tune.trials, start_of(journal)),
    )


def promote(settings: Settings, journal: Journal, choice: Choice, console: Console) -> None:
    """Write a trial's weight into params.yaml and say why and what changed."""
    refuse_other_subject(journal, describe_subject(settings, open_prepared(settings)))
    space, trials = search_space(settings), journal.trials()
    trial = choose(trials, choice)
    _say(console, explain(trial, trials, space))
    finished = sum(other.state == "finished" for other in trials)
    if finished < settings.tune.trials:
        _say(console, f"note: only {finished} of {settings.tune.trials} trials are finished.")
    diff = write_weight(PARAMS, space, trial.weight)
    journal.note(PROMOTED, _promotion(trial, space))
    _say(console, diff or f"{PARAMS} has this weight already.")
    _say(console, "Train with it: `dvc repro`.")


def _promotion(trial: Trial, space: Range) -> dict[str, object]:
    return {
        "trial": trial.number,
        space.knob: trial.weight,
        "value": trial.value,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _show(settings: Settings, journal: Journal, console: Console) -> None:
    trials, space = journal.trials(), space_of(journal)
    _say(console, _title(journal))
    console.print(make_table(trials, space, _is_running(journal)))
    counts = [
        f"{count} {word}"
        for state, word in (
            ("finished", "finished"),
            ("diverged", "diverged"),
            ("running", "not yet finished"),
        )
        if (count := sum(trial.state == state for trial in trials))
    ]
    best = best_of(trials)
    found = "" if best is None else f"; best {SYMBOLS[space.weight]} = {best.weight:g}"
    wanted = settings.tune.trials
    _say(console, f"{', '.join(counts) or 'no trials'}, of {wanted} wanted{found}")


def _title(journal: Journal) -> str:
    return f"study {journal.name}: validation D + R (α = β = 1), nats per image"


def _is_running(journal: Journal) -> Callable[[Trial], bool]:
    return lambda trial: is_present(journal.locks, trial.worker)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
