"""Suggest the next point, as a function of the earlier trials, the seed and its own number.

Nothing else counts: a sampler that lives as long as the study would draw other random numbers in a
study that was stopped and continued. So a new sampler makes each suggestion.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
import torch
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from vaebalance.base.devices import threads
from vaebalance.base.seeds import derive_seed
from vaebalance.evaluation.metrics import Better
from vaebalance.study.search.pruning import Reading
from vaebalance.study.space import Point, Space
from vaebalance.study.storage.journal import VIOLATION, distributions
from vaebalance.study.trials import Trial

STARTUP = {"gp": 4, "tpe": 10}
"""Number of evenly spread trials before the sampler takes over, for one knob.

On noisy valleys over log β the Gaussian process is at 10 trials, with 4, where it is at 20 with
its own 10 random ones.
"""
STARTUP_A_KNOB = 2
"""Additional evenly spread trials for each further knob."""
ANOTHER = 64
"""Number of evenly spread points to consider where the sampler repeats a point."""
ENDS = (0.0, 1.0)
"""First points of a frontier, as fractions of the ranges: a sampler weighs a new point by the
extent of those that it knows, and would omit what lies beyond them."""
DIVERGED_VIOLATION = 1.0
MOST_FOR_GP = 120
"""Most trials that the Gaussian process uses: with 500 a point took 2 s, with 100 it took 0.1 s."""


def suggest(
    sampler: str,
    space: Space,
    history: Sequence[Trial],
    seed: int,
    position: int,
    better: tuple[Better, ...] = ("lower",),
) -> Point:
    """Return the point to try next.

    It is not one that was tried (which would give the same numbers) unless no other is found.

    Args:
        sampler: gp, tpe or quasi_random.
        space: what may be tried.
        history: all earlier trials by number, including running ones.
        seed: seed of the study.
        position: number of points that were suggested before.
        better: better end of each number.
    """
    point = _suggest(sampler, space, history, seed, position, better)
    tried = [trial.point for trial in history]
    if point not in tried:
        return point
    others = (_spread(space, seed, position + further) for further in range(1, ANOTHER))
    return next((other for other in others if other not in tried), point)


def _suggest(
    sampler: str,
    space: Space,
    history: Sequence[Trial],
    seed: int,
    position: int,
    better: tuple[Better, ...],
) -> Point:
    if len(better) > 1:
        if position < len(ENDS):
            return space.at([ENDS[position]] * len(space.dimensions))
        position -= len(ENDS)
    if sampler == "quasi_random" or position < startup(sampler, space):
        return _spread(space, seed, position)
    build = {"gp": _gaussian_process, "tpe": _parzen}[sampler]
    optuna_sampler = build(derive_seed(seed, "sampler", position) % 2**32)
    scratch = optuna.create_study(sampler=optuna_sampler, directions=["minimize"] * len(better))
    seen = _as_seen(history, space, better)
    scratch.add_trials(_few_enough(seen) if sampler == "gp" else seen)
    # Its matrices are small: more threads wait for each other, and round differently.
    with threads(1), warnings.catch_warnings():
        # Optuna warns that some trials (running ones) have no constraints.
        warnings.simplefilter("ignore", UserWarning)
        point = scratch.ask(distributions(space)).params
    return space.rounded(point)


def startup(sampler: str, space: Space) -> int:
    """Return the number of evenly spread trials that come first."""
    return STARTUP[sampler] + STARTUP_A_KNOB * (len(space.dimensions) - 1)


def _spread(space: Space, seed: int, position: int) -> Point:
    """Return the point at `position` of a Sobol sequence, each coordinate shifted separately.

    (Optuna's keeps its position in the study and moves it at every ask, a trial run again too; and
    scrambling, unlike a shift, leaves the first few numbers unevenly spread.)
    """
    sequence = torch.quasirandom.SobolEngine(len(space.dimensions))
    if position > 0:
        sequence.fast_forward(position)
    shifts = [derive_seed(seed, "sampler")] + [
        derive_seed(seed, "sampler", "coordinate", index)
        for index in range(1, len(space.dimensions))
    ]
    fractions: list[float] = sequence.draw(dtype=torch.float64)[0].tolist()
    return space.at([(f + shift / 2**63) % 1.0 for f, shift in zip(fractions, shifts, strict=True)])


def _gaussian_process(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=1)


def _parzen(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=1)


def _as_seen(
    history: Sequence[Trial], space: Space, better: tuple[Better, ...]
) -> list[FrozenTrial]:
    """Convert the history for a sampler that minimises each number.

    A diverged point gets the worst value of each number, or it would be suggested again; a pruned
    one gets its last reading, which more epochs would have improved.
    """
    signs = [1.0 if end == "lower" else -1.0 for end in better]
    known = {trial.number: last for trial in history if (last := _last_reading(trial))}
    losses = {
        number: [sign * value for sign, value in zip(signs, reading.values, strict=True)]
        for number, reading in known.items()
    }
    worst = [max(column) for column in zip(*losses.values(), strict=True)]
    violations = [r.violation for r in known.values() if r.violation is not None]
    seen = []
    for trial in history:
        loss = losses.get(trial.number)
        violation = known[trial.number].violation if trial.number in known else None
        if trial.state == "diverged" and worst:
            loss = worst
            violation = max([*violations, DIVERGED_VIOLATION]) if violations else None
        if loss is not None or trial.state == "running":
            state = TrialState.RUNNING if loss is None else TrialState.COMPLETE
            seen.append(
                create_trial(
                    state=state,
                    params=dict(trial.point),
                    distributions=distributions(space),
                    values=loss,
                    constraints=None if violation is None else {VIOLATION: violation},
                )
            )
    return seen


def _few_enough(seen: list[FrozenTrial]) -> list[FrozenTrial]:
    """Limit many trials to the first (spread out), the last (near the optimum) and the best."""
    if len(seen) <= MOST_FOR_GP:
        return seen
    half = MOST_FOR_GP // 2
    between = [trial for trial in seen[half:-half] if trial.state == TrialState.COMPLETE]
    best = [
        min(between, key=lambda trial: (_miss(trial), trial.values[number]))
        for number in range(len(between[0].values) if between else 0)
    ]
    running = [trial for trial in seen[half:-half] if trial.state == TrialState.RUNNING]
    return [*seen[:half], *best, *running, *seen[-half:]]


def _miss(trial: FrozenTrial) -> float:
    """Return by how much the trial misses the target; 0: it meets it."""
    return max(trial.constraints.get(VIOLATION, 0.0), 0.0)


def _last_reading(trial: Trial) -> Reading | None:
    if trial.state == "pruned":
        return trial.rungs[max(trial.rungs)]
    return None if trial.values is None else Reading(trial.values, trial.violation)
