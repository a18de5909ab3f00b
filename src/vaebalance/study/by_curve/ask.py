"""`vaebalance study` under `tune.method: curve`: answer, list, promote."""

from __future__ import annotations

from rich.console import Console

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import read_provenance
from vaebalance.curve import curve_command as curves
from vaebalance.curve.promotion import promote
from vaebalance.curve.saved_curve import COMMAND as CURVE_COMMAND
from vaebalance.curve.saved_curve import FOLDER, load_curve, read_rows
from vaebalance.curve.screen import make_table
from vaebalance.curve.trace import validation_rows
from vaebalance.data import Dataset
from vaebalance.objectives.objectives import Frontier
from vaebalance.pages.slider.curve_page import draw
from vaebalance.settings import CurveSettings, Settings, load, view_of
from vaebalance.study.by_curve.answer import CurveStudy, pareto_rows
from vaebalance.study.by_curve.question import OTHERWISE, Question, question_of
from vaebalance.study.options import BEST, KNEE, Choice, Options
from vaebalance.study.search.identity import open_prepared
from vaebalance.study.study import COMMAND
from vaebalance.terminal.console import make_console, say


def run(options: Options) -> None:
    """Do what the options say.

    Raises:
        UserError: the settings, the data or the curve do not allow it.
    """
    settings = load(Settings)
    curve_settings, question = view_of(CurveSettings, settings), question_of(settings)
    _refuse_choice(options.promote, question)
    dataset, console = open_prepared(), make_console()
    if options == Options(list=False, promote=None):
        train_if_absent(curve_settings, dataset, console)
    else:
        curves.refuse_other(curve_settings, dataset)
    rows = validation_rows(read_rows(FOLDER))
    if options.list:
        console.print(make_table(rows, _title(dataset)))
        return
    study = CurveStudy(question, load_curve(FOLDER), rows, dataset, curve_settings)
    if options.promote is None:
        say_answer(study, settings.tune.trials, console)
    else:
        chosen = study.knee() if options.promote == KNEE else study.answer()
        say(console, promote(chosen, read_provenance(FOLDER), dataset))


def train_if_absent(settings: CurveSettings, dataset: Dataset, console: Console) -> None:
    """Train the curve as `vaebalance curve` does, unless one of these settings and data exists."""
    try:
        changes = curves.differences(settings, dataset)
    except UserError:
        say(console, f"there is no curve in {FOLDER} yet; training one")
    else:
        if not changes:
            return
        listed = "".join(f"\n  {line}" for line in changes)
        say(console, f"{FOLDER} has another curve; training one anew:{listed}")
    curves.train(settings, dataset, console)
    draw(dataset, settings.seed)


def say_answer(study: CurveStudy, trials: int, console: Console) -> None:
    """Print the study's answer in place of that of `trials` trials, and a frontier's Pareto set."""
    objective = study.question.objective
    if isinstance(objective, Frontier):
        rows, title = pareto_rows(study.asked_rows), f"Pareto set, {_title(study.dataset)}"
        console.print(make_table(rows, title))
        say(console, study.describe_volume(objective.largest_rate))
    say(
        console,
        f"answered from the curve, one training instead of {trials} trials: {study.answer().why}.",
    )
    choice = KNEE if isinstance(objective, Frontier) else BEST
    say(console, f"Take it over with `{COMMAND} --promote {choice}`.")


def _title(dataset: Dataset) -> str:
    return f"{len(dataset.images('validation')):,} validation images, nats per image"


def _refuse_choice(choice: Choice | None, question: Question) -> None:
    if isinstance(choice, int):
        raise UserError(
            f"--promote {choice}: tune.method is 'curve', so there are no trials; give best or "
            f"knee, or a β with `{CURVE_COMMAND} --promote BETA`, {OTHERWISE}."
        )
    if choice == BEST and isinstance(question.objective, Frontier):
        raise UserError(
            "--promote best: a frontier has no best point, since D and R are not weighed against "
            f"each other; give knee, or a β with `{CURVE_COMMAND} --promote BETA`."
        )
