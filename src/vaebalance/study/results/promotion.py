"""Choose a trial, explain the choice, and promote its values to params.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from vaebalance.base.errors import UserError
from vaebalance.evaluation.metrics import NATS
from vaebalance.objectives.frontier import KNEE_RULE, hypervolume
from vaebalance.objectives.objectives import AbstractObjective, Constrained, Frontier, Nll
from vaebalance.run.training_run import Training, provenance_of
from vaebalance.settings import PARAMS
from vaebalance.settings.params_file import rewrite
from vaebalance.study.options import BEST, KNEE, Choice
from vaebalance.study.results.choice import (
    RULES,
    chosen,
    feasible,
    finished,
    front,
    ranking,
    terms,
    value_of,
    within_noise,
)
from vaebalance.study.search.knobs import edit_point
from vaebalance.study.space import Range, Space
from vaebalance.study.study import Study
from vaebalance.study.trials import Trial
from vaebalance.tracking import Selection
from vaebalance.tracking import promote as promote_selection

EDGE = 0.02  # fraction of the range
PROMOTED = "promoted"
"""Key of the study's note that has its latest promotion."""


def promote(study: Study, choice: Choice) -> str:
    """Write the chosen trial's values to params.yaml and the reason beside it; report what changed.

    Raises:
        UserError: the study has no such trial, params.yaml has changed, or cannot be edited.
    """
    study.refuse_changes()
    trial = choose(study.trials(), choice, study.objective)
    settings = study.settings_of(trial.point)
    promoted = promote_selection(
        _selection(study, trial),
        provenance_of(settings, study.dataset),
        partial(rewrite, PARAMS, partial(edit_point, point=trial.point)),
    )
    at = promoted.promotion.at
    study.note(PROMOTED, {"trial": trial.number, **trial.point, "at": at})
    threads = trial.results["threads"]
    here = Training(settings, study.dataset).threads
    return promoted.report("" if threads == here else f"OMP_NUM_THREADS={threads} ")


def _selection(study: Study, trial: Trial) -> Selection:
    trials, goals = study.trials(), (goal.key for goal in study.objective.goals)
    return Selection(
        study=study.name,
        trial=trial.number,
        values=dict(zip(goals, trial.values or (), strict=True)),
        point=trial.point,
        why=explain(trial, trials, study.space, study.objective, study.reference),
    )


def choose(trials: Sequence[Trial], choice: Choice, objective: AbstractObjective) -> Trial:
    """Return the trial that `choice` names.

    Raises:
        UserError: there is no such trial, it has no value, or the objective has no such choice.
    """
    done = {trial.number: trial for trial in finished(trials)}
    if not done:
        raise UserError("the study has no finished trial to promote; run it first.")
    if choice in (BEST, KNEE):
        return _by_rule(trials, choice, objective)
    if choice not in done:
        states = {trial.number: trial.state for trial in trials}
        raise UserError(
            f"--promote {choice}: there is no finished trial of that number "
            f"({states.get(int(choice), 'no such trial')}); finished: "
            f"{', '.join(map(str, sorted(done)))}."
        )
    return done[int(choice)]


def _by_rule(trials: Sequence[Trial], choice: Choice, objective: AbstractObjective) -> Trial:
    is_frontier = isinstance(objective, Frontier)
    if is_frontier != (choice == KNEE):
        raise UserError(
            "--promote best: a frontier has no best point, since D and R are not weighed against "
            "each other; give knee, or the number of a trial (--list shows them)."
            if is_frontier
            else f"--promote knee: only a frontier has one, and tune.objective.kind is "
            f"{objective.kind!r}; give best, or the number of a trial."
        )
    trial = chosen(trials, objective)
    if trial is None:
        if is_frontier:
            raise UserError(
                "--promote knee: the Pareto set has no knee (three points at least, with a bend); "
                "run more trials, or give the number of one (--list shows them)."
            )
        nearest = ranking(trials, objective)[0]
        raise UserError(
            f"--promote best: no trial meets the target, {_target(objective)}; the nearest, trial "
            f"{nearest.number}, misses it by {nearest.violation:.4g}. Widen tune.space, or give "
            "that number."
        )
    return trial


def explain(
    trial: Trial,
    trials: Sequence[Trial],
    space: Space,
    objective: AbstractObjective,
    reference: tuple[float, float] | None = None,
) -> str:
    """Explain why to take the trial, and warn where the optimum may lie elsewhere.

    Args:
        trial: a finished trial.
        trials: all trials of the study.
        space: what the study searches.
        objective: the study's objective.
        reference: (D, R) of a frontier's hypervolume; None: no frontier.
    """
    results = trial.results
    goals = ", ".join(
        f"{goal.name} {value:.4f}" + (f" {_unit(goal.unit)}" if goal.unit else "")
        for goal, value in zip(objective.goals, trial.values or (), strict=True)
    )
    is_frontier = isinstance(objective, Frontier)
    terms_too = "" if is_frontier else f" (D {results['distortion']:.4f}, R {results['rate']:.4f})"
    why = _why_on_frontier if is_frontier else _why_by_number
    lines = [
        f"trial {trial.number}: {space.describe(trial.point)}: {goals}{terms_too}",
        *why(trial, trials, space, objective),
        *_of_frontier(trials, reference),
        f"searched: {'; '.join(map(str, space.dimensions))}",
    ]
    if trial == chosen(trials, objective):  # else the reader has reasons of their own
        best = trial if is_frontier else ranking(trials, objective)[0]
        lines += _warn_of_edge(best, trials, space)
    return "\n".join(lines)


def _why_by_number(
    trial: Trial, trials: Sequence[Trial], space: Space, objective: AbstractObjective
) -> Iterator[str]:
    order = ranking(trials, objective)
    place = order.index(trial)
    goal, count = objective.goals[0], len(order)
    if trial.violation is not None:
        met = len(feasible(trials))
        miss = f"misses its target by {trial.violation:.4g}"
        yield (
            f"it {'meets its target' if trial.violation <= 0 else miss} ({_target(objective)}), as "
            f"{met} of {count} finished trials do"
        )
    end = "the least" if goal.better == "lower" else "the largest"
    yield f"{end if place == 0 else f'number {place + 1}'} of {count} finished trials"
    error = trial.results.get(f"{goal.key}_standard_error")
    if error is not None:
        yield f"standard error over images: {error:.4f}{_space_unit(goal.unit)}"
    if isinstance(objective, Nll) and feasible(trials):
        near = within_noise(trials, order[0])
        yield f"rule: {RULES['nll']}; within it: trial {', '.join(str(t.number) for t in near)}"
        yield f"held-out marginal KL: {trial.results['held_out_marginal_kl']:.4f} nats"
    others = [other for other in order if other is not trial]
    if others:
        difference = value_of(others[0]) - value_of(trial)
        yield (
            f"{'runner-up' if place == 0 else 'best by the number alone'}: trial "
            f"{others[0].number}, {space.describe(others[0].point)}, {difference:+.4f}"
            f"{_space_unit(goal.unit)}"
        )


def _why_on_frontier(
    trial: Trial, trials: Sequence[Trial], space: Space, objective: AbstractObjective
) -> Iterator[str]:
    edge = front(trials)
    if trial == chosen(trials, objective):
        yield f"the knee: {KNEE_RULE}; it moves with the range that is searched"
    if trial not in edge:
        yield "not on the Pareto set: another trial has less of both"
        return
    place = edge.index(trial)
    for name, other in (("less rate", place - 1), ("more rate", place + 1)):
        if 0 <= other < len(edge):
            near = edge[other]
            yield (
                f"neighbour of {name}: trial {near.number}, {space.describe(near.point)}, "
                f"D {near.results['distortion'] - trial.results['distortion']:+.4f}, "
                f"R {near.results['rate'] - trial.results['rate']:+.4f} nats"
            )


def _of_frontier(trials: Sequence[Trial], reference: tuple[float, float] | None) -> list[str]:
    if reference is None:
        return []
    area = hypervolume(terms(finished(trials)), reference)
    return [
        f"{len(front(trials))} of {len(finished(trials))} finished trials are on the Pareto set; "
        f"hypervolume {area:.1f} nats² below D = {reference[0]:.2f} (D at rate 0, of a decoder "
        f"without a code), R = {reference[1]:g}"
    ]


def _target(objective: AbstractObjective) -> str:
    return objective.target if isinstance(objective, Constrained) else ""


def _unit(unit: str) -> str:
    return "nats per image" if unit == NATS else unit


def _space_unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _warn_of_edge(best: Trial, trials: Sequence[Trial], space: Space) -> Iterator[str]:
    """Warn of a best value at the edge of what was tried, beyond which the optimum may lie."""
    for dimension in space.dimensions:
        if not isinstance(dimension, Range):
            continue
        knob = dimension.knob
        tried: list[float] = [trial.point[knob] for trial in finished(trials)]  # type: ignore[misc]
        value: float = best.point[knob]  # type: ignore[assignment]
        position = dimension.fraction(value)
        if position <= EDGE or value == min(tried):
            side = "low"
        elif position >= 1 - EDGE or value == max(tried):
            side = "high"
        else:
            continue
        yield (
            f"warning: {space.names[knob]} of the best, trial {best.number}, is at the {side} edge "
            "of what was tried, so the optimum may lie beyond. Try more trials, or move "
            f"{side} of tune.space.{knob} and begin another study by a new name in tune.study."
        )
