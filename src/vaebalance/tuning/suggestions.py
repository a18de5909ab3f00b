"""The next weight, as a function of the trials before it, the seed and its own number.

Nothing else counts: a sampler that lived through the study would have drawn other random numbers in
a study that was stopped and continued. So each suggestion is made by a new one.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from vaebalance.randomness import derive_seed
from vaebalance.tuning.journal import Trial, distributions
from vaebalance.tuning.space import Range

STARTUP = {"gp": 4, "tpe": 10}
"""Evenly spread trials before the sampler has enough to go by.

On noisy valleys over log β the Gaussian process is at 10 trials, with 4, where it is at 20 with
its own 10 random ones.
"""


def suggest(
    sampler: str, space: Range, history: Sequence[Trial], seed: int, position: int
) -> float:
    """The weight to try next.

    Args:
        sampler: gp, tpe or quasi_random.
        space: the weights that may be tried.
        history: all earlier trials by number, those still running too.
        seed: the study's.
        position: how many weights were suggested before.
    """
    if position < STARTUP.get(sampler, position + 1):
        return space.at(_sobol(derive_seed(seed, "sampler"), position))
    build = {"gp": _gaussian_process, "tpe": _parzen}[sampler]
    return _ask(build(derive_seed(seed, "sampler", position) % 2**32), space, history)


def _sobol(seed: int, position: int) -> float:
    """The number at `position` of the Sobol sequence, all shifted by one random number modulo 1.

    (Optuna's keeps its position in the study and moves it at every ask, a trial run again too; and
    scrambling, unlike a shift, leaves the first few numbers unevenly spread.)
    """
    from scipy.stats import qmc  # type: ignore[import-untyped]

    sequence = qmc.Sobol(1, scramble=False)
    if position > 0:
        sequence.fast_forward(position)
    return (float(sequence.random(1)[0, 0]) + seed / 2**63) % 1.0


def _gaussian_process(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=1)


def _parzen(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=1)


def _ask(sampler: BaseSampler, space: Range, history: Sequence[Trial]) -> float:
    """What `sampler` says in a study of its own that has this history."""
    scratch = optuna.create_study(sampler=sampler)
    scratch.add_trials(_as_seen(history, space))
    trial = scratch.ask(distributions(space))
    return space.rounded(trial.params[space.knob])


def _as_seen(history: Sequence[Trial], space: Range) -> list[FrozenTrial]:
    """The history as a sampler is to see it.

    A diverged weight gets the worst value there is, or it would be suggested again.
    """
    values = [trial.value for trial in history if trial.value is not None]
    seen = []
    for trial in history:
        value = trial.value
        if trial.state == "diverged" and values:
            value = max(values)
        if value is not None or trial.state == "running":
            state = TrialState.RUNNING if value is None else TrialState.COMPLETE
            seen.append(
                create_trial(
                    state=state,
                    params={space.knob: trial.weight},
                    distributions=distributions(space),
                    value=value,
                )
            )
    return seen
