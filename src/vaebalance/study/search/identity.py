"""Identify a study by the settings and the data that all its trials share.

A study remembers them, and refuses to continue or to be promoted under others: its numbers would
not compare, or could not be reproduced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset, open_dataset
from vaebalance.objectives.objectives import AbstractObjective, Frontier, Objective
from vaebalance.settings import PARAMS, Settings, read_yaml
from vaebalance.study.search.knobs import WEIGHTS
from vaebalance.study.space import Choices, Point, Space
from vaebalance.study.storage.journal import Journal
from vaebalance.tracking.points import flatten

NOTE = "subject"
"""Key of the study's note that has its `Beginning`."""
PREPARED = Path("data/prepared")
LOCK = Path("dvc.lock")
IRRELEVANT = {"checkpoint_every"}
"""Knobs of `train` that change no number: a trial writes no checkpoints."""
EVALUATION = {"nll": ("latent_samples",)}
"""Knobs of `evaluate` that an objective reads which does not read all of them."""


@dataclass(frozen=True)
class StudyIdentity:
    """The settings and the data on which all numbers of a study rest, as plain data."""

    content: Mapping[str, Any]

    @classmethod
    def of(cls, settings: Settings, dataset: Dataset, space: Space) -> Self:
        """Describe the settings without the searched knobs, the data, and what is searched."""
        content = settings.model_dump(mode="json")
        objective = settings.tune.objective
        for dimension in space.dimensions:
            *parents, last = dimension.knob.split(".")
            section = content
            for part in parents:
                section = section[part]
            if last == "kind":  # the other keys belong to this kind
                section.clear()
            section.pop(last, None)
        train, evaluate = content["train"], content["evaluate"]
        read = evaluate if objective.reads_evaluate else EVALUATION.get(objective.kind, ())
        return cls(
            {
                "tune": {"objective": content["tune"]["objective"], "space": _flat(space)},
                "seed": content["seed"],
                "data": {"digest": dataset.info.digest[:16]},
                **{name: content[name] for name in ("model", "likelihood", "balance", "penalty")},
                "train": {key: train[key] for key in train if key not in IRRELEVANT},
                "evaluate": {key: evaluate[key] for key in evaluate if key in read},
            }
        )

    @property
    def fingerprint(self) -> str:
        """A short name that other settings or data do not have."""
        text = json.dumps(self.content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def space(self) -> Space:
        """What the study searches."""
        space = self.content["tune"]["space"]
        return Space.from_json([{"knob": knob, **span} for knob, span in space.items()])

    @cached_property
    def objective(self) -> AbstractObjective:
        """What the study asks of each trial."""
        content = json.dumps(self.content["tune"]["objective"])
        objective: AbstractObjective = TypeAdapter(Objective).validate_json(content)
        return objective

    def refuse_other(self, now: StudyIdentity, study: str) -> None:
        """Check that params.yaml and the data are still those of the study named `study`.

        Raises:
            UserError: they are not; says what differs.
        """
        before, after = flatten(self.content, "."), flatten(now.content, ".")
        keys = [key for key in [*before, *after] if before.get(key) != after.get(key)]
        if searched := [key for key in keys if key.startswith("tune.")]:
            keys = searched  # the other knobs differ because of these
        if keys:
            changes = "".join(
                f"\n         {_knob(key)}: {_value(before, key)} in the study, "
                f"{_value(after, key)} now"
                for key in dict.fromkeys(keys)
            )
            raise UserError(
                f"the study {study!r} was made with other settings, so that its numbers do not "
                f"hold under those of {PARAMS}:{changes}\n       Set them back, or begin another "
                "study by a new name in tune.study."
            )


def _flat(space: Space) -> dict[str, Any]:
    """Return the range of each knob, as plain data."""
    return {span.pop("knob"): span for span in space.to_json()}


@dataclass(frozen=True)
class Beginning:
    """What a study notes when it begins, and keeps whatever params.yaml says later."""

    identity: StudyIdentity
    start: Point | None  # point of trial 0; None: that of params.yaml was outside of the space
    zero_distortion: float | None  # D at rate 0, for a frontier's hypervolume; None: no frontier

    @classmethod
    def read(cls, journal: Journal) -> Self | None:
        """Read it from the study's notes; None: the study has not begun."""
        note = journal.notes.get(NOTE)
        if note is None:
            return None
        return cls(StudyIdentity(note["of"]), note["start"], note.get("zero_distortion"))

    def write(self, journal: Journal) -> None:
        """Write it to the study's notes."""
        content = {"of": self.identity.content, "start": self.start}
        journal.note(NOTE, {**content, "zero_distortion": self.zero_distortion})

    @property
    def reference(self) -> tuple[float, float] | None:
        """The hypervolume's reference point (D, R); None: the study's objective is no frontier."""
        objective = self.identity.objective
        if not isinstance(objective, Frontier) or self.zero_distortion is None:
            return None
        return self.zero_distortion, objective.largest_rate


def _knob(key: str) -> str:
    return f"{PREPARED} (digest)" if key == "data.digest" else key


def _value(flat: dict[str, Any], key: str) -> str:
    return json.dumps(flat[key], ensure_ascii=False) if key in flat else "absent"


def refuse_pointless(settings: Settings, space: Space) -> None:
    """Check that the objective distinguishes the points of the space.

    Raises:
        UserError: it does not.
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


def open_prepared() -> Dataset:
    """Open the prepared data and check by dvc.lock that params.yaml still describes it.

    (The stages leave this check to `dvc repro`, without which a study starts.)

    Raises:
        UserError: the data is missing, damaged, or made with other settings.
    """
    dataset = open_dataset(PREPARED)
    if not LOCK.exists():
        return dataset
    stage = read_yaml(LOCK).get("stages", {}).get("prepare", {})
    prepared = flatten(stage.get("params", {}).get(PARAMS.name, {}), ".")
    now = flatten(read_yaml(PARAMS), ".")
    changed = [key for key in prepared if prepared[key] != now.get(key)]
    if changed:
        key = changed[0]
        raise UserError(
            f"{PREPARED} was made with {key} = {_value(prepared, key)}, and {PARAMS} now says "
            f"{_value(now, key)}; run `dvc repro prepare`."
        )
    return dataset
