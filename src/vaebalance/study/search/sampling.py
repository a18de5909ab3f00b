"""The next point, as a function of the trials before it, the seed and its own number.

Nothing else counts: a sampler that lived through the study would have drawn other random numbers in
a study that was stopped and continued. So each suggestion is made by a new one.
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
from vaebalance.study.storage.journal import VIOLATION, Trial, distributions

STARTUP = {"gp": 4, "tpe": 10}
"""Evenly spread trials before the sampler has enough to go by, for one knob.

On noisy valleys over log β the Gaussian process is at 10 trials, with 4, where it is at 20 with
its own 10 random ones.
"""
STARTUP_A_KNOB = 2
"""More of them for each further knob."""
ANOTHER = 64
"""Evenly spread points that are looked at where the sampler repeats one that was tried."""
ENDS = (0.0, 1.0)
"""Where a frontier begins: a sampler weighs a new point by the extent of those it knows, and would
leave out what lies beyond them."""
DIVERGED_VIOLATION = 1.0
MOST_FOR_GP = 120
"""Trials that the Gaussian process goes by: with 500 it needed 2 s for a point, with 100 0.1 s."""


def suggest(
    sampler: str,
    space: Space,
    history: Sequence[Trial],
    seed: int,
    position: int,
    better: tuple[Better, ...] = ("lower",),
) -> Point:
    """The point to try next.

    One that was tried is not tried again (it would give the same numbers) unless nothing else is
    to be found.

    Args:
        sampler: gp, tpe or quasi_random.
        space: what may be tried.
        history: all earlier trials by number, those still running too.
        seed: the study's.
        position: how many points were suggested before.
        better: the better end of each number.
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
    made = build(derive_seed(seed, "sampler", position) % 2**32)
    scratch = optuna.create_study(sampler=made, directions=["minimize"] * len(better))
    seen = _as_seen(history, space, better)
    scratch.add_trials(_few_enough(seen) if sampler == "gp" else seen)
    # Its matrices are small: more threads wait for each other, and round otherwise.
    with threads(1), warnings.catch_warnings():
        # Of constraints that some trials (running ones) do not have.
        warnings.simplefilter("ignore", UserWarning)
        found = scratch.ask(distributions(space)).params
    return space.rounded(found)


def startup(sampler: str, space: Space) -> int:
    """Evenly spread trials that come first."""
    return STARTUP[sampler] + STARTUP_A_KNOB * (len(space.dimensions) - 1)


def _spread(space: Space, seed: int, position: int) -> Point:
    """The point at `position` of the Sobol sequence, each coordinate shifted by its own number.

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
    """The history as a sampler is to see it: less is better of each number.

    A diverged point gets the worst value there is of each, or it would be suggested again; a
    pruned one what the objective last said of it, which more epochs would have bettered.
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
    """Of many trials the first, which are spread out, the last, which are near, and the best."""
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
    """By how much the target is missed, 0 where it is met."""
    return max(trial.constraints.get(VIOLATION, 0.0), 0.0)


def _last_reading(trial: Trial) -> Reading | None:
    if trial.state == "pruned":
        return trial.rungs[max(trial.rungs)]
    return None if trial.values is None else Reading(trial.values, trial.violation)
