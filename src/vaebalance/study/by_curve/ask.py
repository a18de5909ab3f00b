"""`vaebalance study` under `tune.method: curve`: answer, list, promote."""

from __future__ import annotations

from rich.console import Console

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import read_provenance
from vaebalance.curve import curve_command as curves
from vaebalance.curve.chosen_beta import Chosen, choose_knee
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.promotion import promote
from vaebalance.curve.saved_curve import COMMAND as CURVE_COMMAND
from vaebalance.curve.saved_curve import load_curve, read_rows
from vaebalance.curve.screen import make_console, make_table
from vaebalance.curve.trace import CurveRow
from vaebalance.data import Dataset
from vaebalance.objectives.objectives import Frontier
from vaebalance.settings import CurveSettings, Settings, load
from vaebalance.study.by_curve.answer import answer, asked_rows, describe_volume, pareto_rows
from vaebalance.study.by_curve.question import OTHERWISE, Question, question_of
from vaebalance.study.options import BEST, KNEE, Choice, Options
from vaebalance.study.search.identity import open_prepared

COMMAND = "vaebalance study"


def run(options: Options) -> None:
    """Do what was asked for.

    Raises:
        UserError: the settings, the data or the curve do not allow it.
    """
    settings, curve_settings = load(Settings), load(CurveSettings)
    question = question_of(settings)
    _refuse_choice(options.promote, question)
    dataset, console = open_prepared(settings), make_console()
    if options == Options(list=False, promote=None):
        train_if_absent(curve_settings, dataset, console)
    else:
        curves.refuse_other(curve_settings, dataset)
    curve = load_curve(curves.FOLDER)
    rows = curves.validation_rows(read_rows(curves.FOLDER))
    if options.list:
        console.print(make_table(rows, _title(dataset)))
        return
    asked = asked_rows(rows, question)
    if options.promote is None:
        say_answer(question, curve, asked, dataset, settings, curve_settings, console)
    else:
        found = (
            choose_knee(asked)
            if options.promote == KNEE
            else answer(question, curve, asked, dataset, curve_settings)
        )
        curves.say(console, promote(found, read_provenance(curves.FOLDER), dataset))


def train_if_absent(settings: CurveSettings, dataset: Dataset, console: Console) -> None:
    """Train the curve, as `vaebalance curve` does, unless there is one of these settings, data."""
    try:
        changes = curves.differences(settings, dataset)
    except UserError:
        curves.say(console, f"there is no curve in {curves.FOLDER} yet; training one")
    else:
        if not changes:
            return
        listed = "".join(f"\n  {line}" for line in changes)
        curves.say(console, f"{curves.FOLDER} has another curve; training one anew:{listed}")
    curves.train(settings, dataset, console)


def say_answer(
    question: Question,
    curve: AbstractCurve,
    rows: list[CurveRow],
    dataset: Dataset,
    settings: Settings,
    curve_settings: CurveSettings,
    console: Console,
) -> None:
    """Print what the objective picks; of a frontier the Pareto set, too."""
    objective = question.objective
    if isinstance(objective, Frontier):
        console.print(make_table(pareto_rows(rows), f"Pareto set, {_title(dataset)}"))
        curves.say(console, describe_volume(objective, rows, dataset, curve_settings))
    found: Chosen = answer(question, curve, rows, dataset, curve_settings)
    curves.say(
        console,
        f"answered from the curve, one training instead of {settings.tune.trials} trials: "
        f"{found.why}.",
    )
    choice = KNEE if isinstance(objective, Frontier) else BEST
    curves.say(console, f"Take it over with `{COMMAND} --promote {choice}`.")


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
