"""Which of several knobs moved the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import create_trial

from vaebalance.study.results.choice import finished
from vaebalance.study.space import Space
from vaebalance.study.storage.journal import Trial, distributions

LEAST_TRIALS = 4
"""Fewer say nothing."""
SEED = 0  # of the forest, so that a study published again shows the same figure


def importances(trials: Sequence[Trial], space: Space, goal: int) -> dict[str, float]:
    """Knob -> share of the variance of the goal's number that it explains (fANOVA, Hutter 2014).

    The shares sum to 1; empty for a single knob, few trials, or a number that never changed.
    """
    done = finished(trials)
    values = [trial.values[goal] for trial in done if trial.values is not None]
    if len(space.dimensions) < 2 or len(done) < LEAST_TRIALS or len(set(values)) < 2:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # scikit-learn

    study = optuna.create_study()
    study.add_trials(
        [
            create_trial(params=dict(trial.point), distributions=distributions(space), value=value)
            for trial, value in zip(done, values, strict=True)
        ]
    )
    evaluator = FanovaImportanceEvaluator(seed=SEED)
    return get_param_importances(study, evaluator=evaluator)
