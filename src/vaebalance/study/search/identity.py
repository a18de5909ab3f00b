"""What a study is about: the settings and the data that every trial shares.

A study remembers them, and neither goes on nor is promoted under others: its numbers would not
compare, or not be reached again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset, open_dataset
from vaebalance.objectives.objectives import AbstractObjective, Frontier, Objective
from vaebalance.settings import PARAMS, Settings, read_yaml
from vaebalance.study.search.knobs import WEIGHTS
from vaebalance.study.space import Choices, Point, Space
from vaebalance.study.storage.journal import SUBJECT, Journal
from vaebalance.tracking.points import flatten

PREPARED = Path("data/prepared")
LOCK = Path("dvc.lock")
IRRELEVANT = {"checkpoint_every"}
"""Of `train`: a trial writes no checkpoints, and they change no number."""
EVALUATION = {"nll": ("latent_samples",)}
"""Of `evaluate`, what an objective reads that does not read all of it."""

Subject = dict[str, Any]


def describe_subject(settings: Settings, dataset: Dataset, space: Space) -> Subject:
    """What the trials' numbers rest on, the searched knobs left out, and what was searched."""
    content = settings.model_dump(mode="json")
    objective = settings.tune.objective
    for dimension in space.dimensions:
        *parents, last = dimension.knob.split(".")
        section = content
        for part in parents:
            section = section[part]
        if last == "kind":  # the other keys are this kind's
            section.clear()
        section.pop(last, None)
    read = None if objective.reads_evaluate else EVALUATION.get(objective.kind, ())
    return {
        "tune": {"objective": content["tune"]["objective"], "space": _flat(space)},
        "seed": content["seed"],
        "data": {"digest": dataset.info.digest[:16]},
        "model": content["model"],
        "likelihood": content["likelihood"],
        "balance": content["balance"],
        "penalty": content["penalty"],
        "train": {key: value for key, value in content["train"].items() if key not in IRRELEVANT},
        "evaluate": {k: v for k, v in content["evaluate"].items() if read is None or k in read},
    }


def _flat(space: Space) -> dict[str, Any]:
    """Knob -> its range, as plain data."""
    return {found.pop("knob"): found for found in space.to_json()}


def fingerprint(subject: Subject) -> str:
    """A name for a subject."""
    text = json.dumps(subject, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remember(
    journal: Journal, subject: Subject, start: Point | None, zero_distortion: float | None
) -> None:
    """Note what a new study is about.

    Args:
        journal: of the study.
        subject: what its numbers rest on.
        start: the point that it starts with; None: params.yaml's is out of range.
        zero_distortion: D at rate 0, of the hypervolume's reference point; None: it has none.
    """
    journal.note(SUBJECT, {"of": subject, "start": start, "zero_distortion": zero_distortion})


def start_of(journal: Journal) -> Point | None:
    """The point of trial 0: what params.yaml said when the study began; None: was out of range."""
    start: Point | None = journal.notes[SUBJECT]["start"]
    return start


def space_of(journal: Journal) -> Space:
    """What the study searches, whatever params.yaml says by now."""
    space = journal.notes[SUBJECT]["of"]["tune"]["space"]
    return Space.from_json([{"knob": knob, **found} for knob, found in space.items()])


def objective_of(journal: Journal) -> AbstractObjective:
    """What the study asks, whatever params.yaml says by now."""
    content = json.dumps(journal.notes[SUBJECT]["of"]["tune"]["objective"])
    objective: AbstractObjective = TypeAdapter(Objective).validate_json(content)
    return objective


def reference_of(journal: Journal) -> tuple[float, float] | None:
    """(D, R) of the hypervolume's reference point; None where the study is of no frontier."""
    objective = objective_of(journal)
    if not isinstance(objective, Frontier):
        return None
    return journal.notes[SUBJECT]["zero_distortion"], objective.largest_rate


def refuse_other_subject(journal: Journal, subject: Subject) -> None:
    """Check that the study is about `subject`.

    Raises:
        UserError: it is not; says what differs.
    """
    before, now = flatten(journal.notes[SUBJECT]["of"], "."), flatten(subject, ".")
    keys = [key for key in [*before, *now] if before.get(key) != now.get(key)]
    if searched := [key for key in keys if key.startswith("tune.")]:
        keys = searched  # the other knobs differ because of these
    if keys:
        changes = "".join(
            f"\n         {_knob(key)}: {_value(before, key)} in the study, {_value(now, key)} now"
            for key in dict.fromkeys(keys)
        )
        raise UserError(
            f"the study {journal.name!r} was made with other settings, so that its numbers do not "
            f"hold under those of {PARAMS}:{changes}\n       Set them back, or begin another study "
            "by a new name in tune.study."
        )


def _knob(key: str) -> str:
    return f"{PREPARED} (digest)" if key == "data.digest" else key


def _value(flat: dict[str, Any], key: str) -> str:
    return json.dumps(flat[key], ensure_ascii=False) if key in flat else "absent"


def refuse_pointless(settings: Settings, space: Space) -> None:
    """Check that the objective can tell the points of the space apart.

    Raises:
        UserError: it cannot.
    """
    objective, balance = settings.tune.objective, settings.balance
    searched = {dimension.knob for dimension in space.dimensions}
    weights = searched & set(WEIGHTS)
    if settings.model.posterior == "deterministic" and (weights or objective.needs_rate):
        raise UserError(
            "model.posterior = 'deterministic': a plain autoencoder has no rate, so there is "
            "nothing to balance; set it to gaussian, or search other knobs for a metric."
        )
    for knob in weights:
        (other,) = {"balance.alpha", "balance.beta"} - {knob}
        if getattr(balance, other.partition(".")[2], None) == 0:
            raise UserError(
                f"{other} = 0: only the ratio of the weights matters, so {knob} in tune.space "
                f"would make no difference; set {other} above 0."
            )
    kinds = next((d for d in space.dimensions if d.knob == "likelihood.kind"), None)
    if isinstance(kinds, Choices) and objective.is_of_own_likelihood:
        raise UserError(
            f"tune.objective.kind = {objective.kind!r} is in nats of the model's own likelihood, "
            "and nats of different kinds do not compare, so likelihood.kind cannot be searched "
            "for it; use {kind: nll}, which is calibrated."
        )


def open_prepared(settings: Settings) -> Dataset:
    """The prepared data, made with these settings as far as DVC knows.

    (The stages leave that check to `dvc repro`; a study is started without it.)

    Raises:
        UserError: missing, damaged, or made with other settings.
    """
    dataset = open_dataset(PREPARED)
    if not LOCK.exists():
        return dataset
    stage = read_yaml(LOCK).get("stages", {}).get("prepare", {})
    made = flatten(stage.get("params", {}).get(PARAMS.name, {}), ".")
    now = flatten(read_yaml(PARAMS), ".")
    changed = [key for key in made if made[key] != now.get(key)]
    if changed:
        key = changed[0]
        raise UserError(
            f"{PREPARED} was made with {key} = {_value(made, key)}, and {PARAMS} now says "
            f"{_value(now, key)}; run `dvc repro prepare`."
        )
    return dataset
