"""`vaebalance study`: search, list or promote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
from rich.console import Console

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.base.provenance import Provenance
from vaebalance.data import Dataset
from vaebalance.objectives.frontier import distortion_at_rate_zero
from vaebalance.objectives.objectives import Frontier
from vaebalance.run.training_run import Training, provenance_of, start_learner
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.stacking.groups import group_size
from vaebalance.study.options import Choice, Options
from vaebalance.study.results.choice import chosen, front
from vaebalance.study.results.promotion import choose, edited, explain, write_values
from vaebalance.study.results.publication import publish
from vaebalance.study.results.study_charts import axis_title
from vaebalance.study.results.table import Screen, View, describe_goals, make_console, make_table
from vaebalance.study.search.identity import (
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
from vaebalance.study.search.knobs import current_point, samples_of, search_space, with_values
from vaebalance.study.search.pruning import PrunedError
from vaebalance.study.search.search import ENDED, Groups, Listener, Plan, is_complete, judge, search
from vaebalance.study.search.trial import OnEpoch, TrackedObjective
from vaebalance.study.search.workers import Reporter, listen, working
from vaebalance.study.space import Space
from vaebalance.study.storage.journal import SUBJECT, Journal, Trial
from vaebalance.study.storage.location import database_setting, open_existing_storage, open_storage
from vaebalance.tracking import Promotion, StudyTracker, write_promotion
from vaebalance.tracking.store import project_root
from vaebalance.training.precision import work_of

STUDIES = "studies"
COMMAND = "vaebalance study"
PROMOTED = "promoted"
RUN = "mlflow_run"


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
        _show(settings, open_existing(settings, folder), console)
    elif options.promote is not None:
        promote(settings, open_existing(settings, folder), options.promote, console)
    else:
        run_study(settings, folder, console)


def open_existing(settings: Settings, folder: Path) -> Journal:
    """The study whose files are in `folder`.

    Raises:
        UserError: there is none.
    """
    storage, names = open_existing_storage(settings, folder)
    if storage is None:
        place = database_setting(settings) or folder.parent
        raise UserError(
            f"tune.study = {folder.name!r}: there is no such study yet in {place} "
            f"(there: {', '.join(names) or 'none'}); begin it with `{COMMAND}`."
        )
    journal = Journal(folder, storage=storage)
    if SUBJECT not in journal.notes:
        raise UserError(f"the study {journal.name!r} is empty; begin it with `{COMMAND}`.")
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
            f"the study {journal.name!r} has its {plan.trials} trials; raise tune.trials for more.",
        )
    screen = Screen(console, _view(journal), _title(journal), plan.trials, settings.train.epochs)
    with _tracked(study) as tracker:
        if database_setting(settings):
            _warn_of_another_store(journal, tracker, console)
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
    journal = Journal(folder, better, open_storage(settings, folder))

    def remember_once() -> None:
        with journal.lock:
            if SUBJECT not in journal.notes:
                _refuse_unwritable(settings, space)
                zero = None
                if isinstance(tune.objective, Frontier):
                    zero = distortion_at_rate_zero(settings.likelihood, dataset, settings.seed)
                remember(journal, subject, current_point(settings, space), zero)

    journal.patiently(remember_once)
    refuse_other_subject(journal, subject)
    journal.name_goals([axis_title(goal) for goal in tune.objective.goals])
    plan = Plan(space, tune.sampler, settings.seed, tune.trials, start_of(journal), better)
    return Study(journal, subject, plan)


@contextmanager
def _tracked(study: Study) -> Iterator[StudyTracker]:
    """The study's run in MLflow, which two machines that begin at once do not both make."""
    with ExitStack() as stack:
        with study.journal.lock:
            tracker = stack.enter_context(
                tracking.study(study.journal.name, study.subject, (PrunedError,))
            )
        yield tracker


def _warn_of_another_store(journal: Journal, tracker: StudyTracker, console: Console) -> None:
    """Of machines that share a study but not MLflow's store, none has the whole study's runs."""
    first = journal.notes.get(RUN)
    if first is None:
        journal.note(RUN, tracker.run_id)
    elif first != tracker.run_id:
        _say(
            console,
            "note: this study was begun in another MLflow store than this machine's, which will "
            "have only the trials that run here; give all machines the same MLFLOW_TRACKING_URI.",
        )


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
    journal, plan = study.journal, study.plan
    dataset = open_prepared(settings)
    objective = TrackedObjective(
        settings,
        dataset,
        tracker,
        fingerprint(study.subject),
        on_epoch,
        judge(journal, plan.better),
    )
    groups = Groups(_group_size(settings, dataset), objective.start)
    search(journal, plan, objective, listener, groups)


def _group_size(settings: Settings, dataset: Dataset) -> int:
    """Trials that a process trains at once."""
    tune = settings.tune
    if tune.together != "auto":
        return tune.together
    learner = start_learner(with_values(settings, {}), dataset)
    return group_size(
        work=work_of(learner.model, settings.train.batch_size),
        device=learner.device,
        learns=tune.sampler != "quasi_random",
        trials=tune.trials,
        workers=tune.workers,
    )


def work(folder: Path, reporter: Reporter) -> None:
    """Run trials of the study in `folder`, as one of several worker processes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = load(Settings)
    study = begin(settings, folder)
    with _tracked(study) as tracker:
        _train_trials(settings, study, tracker, reporter, reporter.epoch)


def _watch(count: int, study: Study, screen: Screen) -> None:
    """Let so many processes run the trials, and show them."""
    journal = study.journal
    with working(count, work, journal.folder) as workers:
        for worker, message in listen(workers):
            if message is None:
                for number in worker.trials:
                    screen.lost(number)
            elif message.kind == "started":
                screen.started(journal.trials()[message.number])
            elif message.kind == "ended":
                screen.ended(journal.trials(), message.number)
            elif message.kind == "note":
                screen.note(message.text)
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
    ended = sum(other.state in ENDED for other in trials)
    if ended < settings.tune.trials:
        _say(console, f"note: only {ended} of {settings.tune.trials} trials have ended.")
    diff = write_values(PARAMS, settings, trial.point)
    provenance = provenance_of(with_values(settings, trial.point), dataset)
    promotion = _promotion(journal, trial, why, provenance)
    write_promotion(Path(), promotion)
    journal.note(PROMOTED, {"trial": trial.number, **trial.point, "at": promotion.at})
    _say(console, diff or f"{PARAMS} has these values already.")
    threads = trial.results["threads"]
    here = Training(with_values(settings, trial.point), dataset).threads
    with_threads = "" if threads == here else f"OMP_NUM_THREADS={threads} "
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
    with journal.publishing:  # another start may end at the same time
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
            ("pruned", "stopped early"),
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
    return lambda trial: not journal.abandoned([trial])


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
