"""Choose a trial by the objective's rule, which does not compare numbers within the noise."""

from __future__ import annotations

from collections.abc import Sequence

from vaebalance.objectives.frontier import Terms, knee, pareto
from vaebalance.objectives.objectives import AbstractObjective, Frontier, Nll
from vaebalance.study.trials import Trial

RULES = {
    "nll": "of the trials within one standard error of the least nll, the one with the least "
    "held-out marginal KL (the nearest to the prior)",
}


def finished(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have a value."""
    return [trial for trial in trials if trial.values is not None]


def feasible(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have a value and meet the objective's target, if it has one."""
    return [trial for trial in finished(trials) if trial.violation is None or trial.violation <= 0]


def ranking(trials: Sequence[Trial], objective: AbstractObjective) -> list[Trial]:
    """Sort feasible trials from best to worst by the number, then the others by their miss."""
    goal = objective.goals[0]
    good = feasible(trials)
    others = [trial for trial in finished(trials) if trial not in good]
    return [
        *sorted(good, key=lambda trial: goal.loss(value_of(trial))),
        *sorted(others, key=lambda trial: trial.violation or 0.0),
    ]


def chosen(trials: Sequence[Trial], objective: AbstractObjective) -> Trial | None:
    """Return the trial that the objective's rule chooses; None: no trial qualifies.

    One goal: the best number, of trials that meet the target; the earliest of equals. `nll`: see
    `RULES`. `frontier`: the knee, see `frontier.KNEE_RULE`.
    """
    if isinstance(objective, Frontier):
        done = finished(trials)
        index = knee(terms(done))
        return None if index is None else done[index]
    good = feasible(trials)
    if not good:
        return None
    best = ranking(good, objective)[0]
    if isinstance(objective, Nll):
        return min(
            within_noise(good, best), key=lambda trial: trial.results["held_out_marginal_kl"]
        )
    return best


def within_noise(trials: Sequence[Trial], best: Trial) -> list[Trial]:
    """Return the trials whose nll is within one standard error of the least, sorted by nll."""
    bound = value_of(best) + (best.results["nll_standard_error"] or 0.0)
    near = [trial for trial in finished(trials) if value_of(trial) <= bound]
    return sorted(near, key=value_of)


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in both D and R, by rising rate."""
    done = finished(trials)
    return [done[index] for index in pareto(terms(done))]


def terms(trials: Sequence[Trial]) -> list[Terms]:
    """Return (D, R) of each finished trial."""
    return [(trial.results["distortion"], trial.results["rate"]) for trial in trials]


def value_of(trial: Trial) -> float:
    """Return the first number of a finished trial."""
    assert trial.values is not None
    return trial.values[0]
