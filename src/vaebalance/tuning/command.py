"""What the arguments of pipelines/tune.py ask for: search, list or promote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
import torch
from filelock import FileLock
from rich.console import Console

from vaebalance import tracking
from vaebalance.errors import UserError
from vaebalance.experiment import provenance_of
from vaebalance.objectives import Frontier
from vaebalance.provenance import Provenance
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.tracking import Promotion, StudyTracker, write_promotion
from vaebalance.tracking.store import project_root
from vaebalance.tuning.charts import axis_title
from vaebalance.tuning.cli import Choice, Options
from vaebalance.tuning.decision import chosen, front
from vaebalance.tuning.frontier import distortion_at_rate_zero
from vaebalance.tuning.journal import FILE, SUBJECT, Journal, Trial
from vaebalance.tuning.knobs import current_point, samples_of, search_space, with_values
from vaebalance.tuning.objective import OnEpoch, tracked_objective
from vaebalance.tuning.presence import is_present
from vaebalance.tuning.promotion import choose, edited, explain, write_values
from vaebalance.tuning.publication import publish
from vaebalance.tuning.screen import Screen, View, describe_goals, make_console, make_table
from vaebalance.tuning.search import Listener, Plan, is_complete, search
from vaebalance.tuning.space import Space
from vaebalance.tuning.subject import (
    Subject,
    describe_subject,
    fingerprint,
    objective_of,
    open_prepared,
    reference_of,
    refuse_other_subject,
    refuse_pointless,
    remember,
    space_of,
    start_of,
)
from vaebalance.tuning.workers import Reporter, listen, working

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


@dataclass(frozen=True)
class Study:
    """A study that is begun."""

    journal: Journal
    subject: Subject
    plan: Plan


def run_study(settings: Settings, folder: Path, console: Console) -> None:
    """Run trials until there are enough; Ctrl-C keeps what is finished."""
    study = begin(settings, folder)
    journal, plan = study.journal, study.plan
    if plan.start is None:
        _say(
            console,
            "note: params.yaml was outside of tune.space when the study began, so trial 0 is the "
            "sampler's.",
        )
    is_enough = is_complete(journal.trials(), plan)
    if is_enough:
        _say(
            console,
            f"the study {journal.name!r} has its {plan.trials} finished trials; raise tune.trials "
            "for more.",
        )
    screen = Screen(console, _view(journal), _title(journal), plan.trials, settings.train.epochs)
    with tracking.study(journal.name, study.subject) as tracker:
        try:
            with screen:
                if settings.tune.workers == 1 or is_enough:
                    _train_trials(settings, study, tracker, screen, screen.epoch)
                else:
                    _watch(settings.tune.workers, study, screen)
        except KeyboardInterrupt:
            _show(settings, journal, console)
            _say(console, f"stopped; no finished trial is lost. Go on with `{COMMAND}`.")
            _publish(tracker, journal)
            raise
        _publish(tracker, journal)
    _show(settings, journal, console)
    choice = "knee" if isinstance(settings.tune.objective, Frontier) else "best"
    _say(
        console,
        f"Its tables, figures and pictures are in {_short(folder)}. Take over the {choice} "
        f"with `{COMMAND} --promote {choice}`.",
    )


def begin(settings: Settings, folder: Path) -> Study:
    """The study in `folder`, new or to be continued.

    Raises:
        UserError: it makes no sense, or was begun with other settings or data.
    """
    tune = settings.tune
    space = search_space(settings)
    refuse_pointless(settings, space)
    dataset = open_prepared(settings)
    subject = describe_subject(settings, dataset, space)
    better = tuple(goal.better for goal in tune.objective.goals)
    journal = Journal(folder, better)
    with journal.lock:
        if SUBJECT not in journal.notes:
            _refuse_unwritable(settings, space)
            zero = None
            if isinstance(tune.objective, Frontier):
                zero = distortion_at_rate_zero(settings.likelihood, dataset, settings.seed)
            remember(journal, subject, current_point(settings, space), zero)
    refuse_other_subject(journal, subject)
    with journal.lock:
        journal.name_goals([axis_title(goal) for goal in tune.objective.goals])
    plan = Plan(space, tune.sampler, settings.seed, tune.trials, start_of(journal), better)
    return Study(journal, subject, plan)


def _refuse_unwritable(settings: Settings, space: Space) -> None:
    """Check that what is found could be written back into params.yaml."""
    text = PARAMS.read_text(encoding="utf-8")
    for point in samples_of(space):
        edited(text, settings, point, PARAMS.name)


def _train_trials(
    settings: Settings,
    study: Study,
    tracker: StudyTracker,
    listener: Listener,
    on_epoch: OnEpoch,
) -> None:
    """Run trials in this process."""
    objective = tracked_objective(
        settings, open_prepared(settings), tracker, fingerprint(study.subject), on_epoch
    )
    search(study.journal, study.plan, objective, listener)


def work(folder: Path, reporter: Reporter) -> None:
    """Run trials of the study in `folder`, as one of several worker processes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = load(Settings)
    study = begin(settings, folder)
    with tracking.study(study.journal.name, study.subject) as tracker:
        _train_trials(settings, study, tracker, reporter, reporter.epoch)


def _watch(count: int, study: Study, screen: Screen) -> None:
    """Let so many processes run the trials, and show them."""
    journal = study.journal
    with working(count, work, journal.folder) as workers:
        for worker, message in listen(workers):
            if message is None:
                if worker.trial is not None:
                    screen.lost(worker.trial)
            elif message.kind == "started":
                screen.started(journal.trials()[message.number])
            elif message.kind == "ended":
                screen.ended(journal.trials(), message.number)
            elif message.kind == "epoch":
                assert message.report is not None
                screen.epoch(message.number, message.report)


def promote(settings: Settings, journal: Journal, choice: Choice, console: Console) -> None:
    """Write a trial's values into params.yaml, keep why beside it, and say what changed."""
    space, dataset = search_space(settings), open_prepared(settings)
    refuse_other_subject(journal, describe_subject(settings, dataset, space))
    trials, objective = journal.trials(), objective_of(journal)
    trial = choose(trials, choice, objective)
    why = explain(trial, trials, space, objective, reference_of(journal))
    _say(console, why)
    finished = sum(other.state == "finished" for other in trials)
    if finished < settings.tune.trials:
        _say(console, f"note: only {finished} of {settings.tune.trials} trials are finished.")
    diff = write_values(PARAMS, settings, trial.point)
    provenance = provenance_of(with_values(settings, trial.point), dataset, Path())
    promotion = _promotion(journal, trial, why, provenance)
    write_promotion(Path(), promotion)
    journal.note(PROMOTED, {"trial": trial.number, **trial.point, "at": promotion.at})
    _say(console, diff or f"{PARAMS} has these values already.")
    threads = trial.results["threads"]
    with_threads = "" if threads == torch.get_num_threads() else f"OMP_NUM_THREADS={threads} "
    address = tracking.register_trained(provenance, promotion)
    registers = ", which registers the model" if address is None else ""
    _say(console, f"Train with it: `{with_threads}dvc repro`{registers}.")
    if address is not None:
        _say(console, f"It was trained before, and is {address} in MLflow's registry.")


def _promotion(journal: Journal, trial: Trial, why: str, provenance: Provenance) -> Promotion:
    goals = (goal.key for goal in objective_of(journal).goals)
    return Promotion(
        study=journal.name,
        trial=trial.number,
        values=dict(zip(goals, trial.values or (), strict=True)),
        point=trial.point,
        why=why,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        params=provenance.params,
        dataset_digest=str(provenance.dataset["digest"]),
    )


def _publish(tracker: StudyTracker, journal: Journal) -> None:
    with FileLock(journal.locks / "publish"):  # another start may end at the same time
        publish(
            tracker,
            journal.folder,
            journal.trials(),
            space_of(journal),
            objective_of(journal),
            reference_of(journal),
        )


def _view(journal: Journal) -> View:
    return View(space_of(journal), objective_of(journal), _is_running(journal))


def _show(settings: Settings, journal: Journal, console: Console) -> None:
    trials, view = journal.trials(), _view(journal)
    _say(console, _title(journal))
    console.print(make_table(trials, view))
    counts = [
        f"{count} {word}"
        for state, word in (
            ("finished", "finished"),
            ("diverged", "diverged"),
            ("running", "not yet finished"),
        )
        if (count := sum(trial.state == state for trial in trials))
    ]
    best = chosen(trials, view.objective)
    is_frontier = isinstance(view.objective, Frontier)
    found = f"; {len(front(trials))} on the Pareto set" if is_frontier else ""
    if best is not None:
        word = "knee" if is_frontier else "best"
        found += f"; {word}: trial {best.number}, {view.space.describe(best.point)}"
    wanted = settings.tune.trials
    _say(console, f"{', '.join(counts) or 'no trials'}, of {wanted} wanted{found}")


def _title(journal: Journal) -> str:
    return f"study {journal.name}: {describe_goals(objective_of(journal))}"


def _is_running(journal: Journal) -> Callable[[Trial], bool]:
    return lambda trial: is_present(journal.locks, trial.worker)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
