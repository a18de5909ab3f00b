"""`vaebalance study`: search, list or promote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
from rich.console import Console

from vaebalance import tracking
from vaebalance.settings import Settings, load
from vaebalance.study.options import Choice, Options
from vaebalance.study.results.choice import chosen, front
from vaebalance.study.results.promotion import promote
from vaebalance.study.results.publication import publish
from vaebalance.study.results.table import Screen, View, describe_goals, make_table
from vaebalance.study.search.pruning import PrunedError
from vaebalance.study.search.trial import TrackedTrainer
from vaebalance.study.search.workers import Reporter, listen, working
from vaebalance.study.study import COMMAND, Study, begin, open_existing
from vaebalance.study.trials import ENDED, Trial
from vaebalance.terminal.console import make_console, say
from vaebalance.tracking import StudyTracker
from vaebalance.tracking.store import project_root

STUDIES = "studies"
RUN = "mlflow_run"
"""Key of the study's note that has its MLflow run."""


def run(options: Options) -> None:
    """Do what the options say.

    Raises:
        UserError: the settings, the data or the study do not allow it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = load(Settings)
    folder = project_root() / STUDIES / settings.tune.study
    console = make_console()
    if options.list:
        _show(open_existing(settings, folder), console)
    elif options.promote is not None:
        _promote(open_existing(settings, folder), options.promote, console)
    else:
        run_study(begin(settings, folder), console)


def run_study(study: Study, console: Console) -> None:
    """Run trials until the study is complete; Ctrl-C keeps those that are finished."""
    planned = study.plan.trials
    if study.plan.start is None:
        say(
            console,
            "note: params.yaml was outside of tune.space when the study began, so the sampler "
            "chose trial 0.",
        )
    is_complete = study.search.is_complete()
    if is_complete:
        say(
            console,
            f"the study {study.name!r} has its {planned} trials; raise tune.trials for more.",
        )
    screen = Screen(console, _view(study), _title(study), planned, study.epochs)
    with _tracked(study) as tracker:
        if study.is_shared_by_machines:
            _warn_of_another_store(study, tracker, console)
        try:
            with screen:
                if study.plan.workers == 1 or is_complete:
                    trainer = TrackedTrainer(study, tracker, screen.epoch)
                    study.search.run_until_complete(trainer, screen)
                else:
                    _watch(study, screen)
        except KeyboardInterrupt:
            _show(study, console)
            say(console, f"stopped; no finished trial is lost. Go on with `{COMMAND}`.")
            publish(study, tracker)
            raise
        publish(study, tracker)
    _show(study, console)
    choice = "knee" if study.is_frontier else "best"
    say(
        console,
        f"Its tables, figures and pictures are in {_short(study.folder)}. Take over the {choice} "
        f"with `{COMMAND} --promote {choice}`.",
    )


@contextmanager
def _tracked(study: Study) -> Iterator[StudyTracker]:
    """Open the study's run in MLflow, which two machines that begin at once must not both make."""
    with ExitStack() as stack:
        with study.lock:
            tracker = stack.enter_context(
                tracking.study(study.name, study.identity.content, (PrunedError,))
            )
        yield tracker


def _warn_of_another_store(study: Study, tracker: StudyTracker, console: Console) -> None:
    """Warn where machines share a study but not MLflow's store: no store then has all its runs."""
    first = study.notes.get(RUN)
    if first is None:
        study.note(RUN, tracker.run_id)
    elif first != tracker.run_id:
        say(
            console,
            "note: this study was begun in another MLflow store than this machine's, which will "
            "have only the trials that run here; give all machines the same MLFLOW_TRACKING_URI.",
        )


def work(folder: Path, reporter: Reporter) -> None:
    """Run trials of the study in `folder` as one of several worker processes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = begin(load(Settings), folder)
    with _tracked(study) as tracker:
        trainer = TrackedTrainer(study, tracker, reporter.epoch)
        study.search.run_until_complete(trainer, reporter)


def _watch(study: Study, screen: Screen) -> None:
    """Let worker processes run the trials, and show their progress."""
    with working(study.plan.workers, work, study.folder) as workers:
        for worker, message in listen(workers):
            if message is None:
                for number in worker.trials:
                    screen.lost(number)
            elif message.kind == "started":
                screen.started(study.trials()[message.number])
            elif message.kind == "ended":
                screen.ended(study.trials(), message.number)
            elif message.kind == "note":
                screen.note(message.text)
            elif message.kind == "epoch":
                assert message.report is not None
                screen.epoch(message.number, message.report)


def _promote(study: Study, choice: Choice, console: Console) -> None:
    report = promote(study, choice)
    ended = sum(trial.state in ENDED for trial in study.trials())
    if ended < study.plan.trials:
        say(console, f"note: only {ended} of {study.plan.trials} trials have ended.")
    say(console, report)


def _view(study: Study) -> View:
    return View(study.space, study.objective, study.search.is_running)


def _show(study: Study, console: Console) -> None:
    trials = study.trials()
    say(console, _title(study))
    console.print(make_table(trials, _view(study)))
    say(console, f"{_counts(trials)}, of {study.plan.trials} wanted{_best(study, trials)}")


def _counts(trials: list[Trial]) -> str:
    counts = [
        f"{count} {word}"
        for state, word in (
            ("finished", "finished"),
            ("pruned", "stopped early"),
            ("diverged", "diverged"),
            ("running", "not yet finished"),
        )
        if (count := sum(trial.state == state for trial in trials))
    ]
    return ", ".join(counts) or "no trials"


def _best(study: Study, trials: list[Trial]) -> str:
    text = f"; {len(front(trials))} on the Pareto set" if study.is_frontier else ""
    best = chosen(trials, study.objective)
    if best is not None:
        word = "knee" if study.is_frontier else "best"
        text += f"; {word}: trial {best.number}, {study.space.describe(best.point)}"
    return text


def _title(study: Study) -> str:
    return f"study {study.name}: {describe_goals(study.objective)}"


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
