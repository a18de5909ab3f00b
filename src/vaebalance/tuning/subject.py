"""What a study is about: the settings and the data that every trial shares.

A study remembers them, and neither goes on nor is promoted under others: its numbers would not
compare, or not be reached again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vaebalance.data import Dataset, open_dataset
from vaebalance.errors import UserError
from vaebalance.settings import PARAMS, Settings, TrainSettings, read_yaml
from vaebalance.tracking.points import flatten
from vaebalance.tuning.journal import SUBJECT, Journal
from vaebalance.tuning.space import Range

PREPARED = Path("data/prepared")
LOCK = Path("dvc.lock")
IRRELEVANT = {"checkpoint_every"}
"""Of `train`: a trial writes no checkpoints, and they change no number."""

Subject = dict[str, Any]


def search_space(settings: Settings) -> Range:
    """The weights that section `tune` allows."""
    return Range(f"balance.{settings.tune.parameter}", settings.tune.low, settings.tune.high)


def describe_subject(settings: Settings, dataset: Dataset) -> Subject:
    """What the trials' numbers rest on, the searched weight left out, and what was searched."""
    content = settings.model_dump(mode="json")
    tune = content["tune"]
    content["balance"].pop(settings.tune.parameter)
    return {
        "tune": {key: tune[key] for key in ("parameter", "low", "high", "objective")},
        "seed": content["seed"],
        "data": {"digest": dataset.info.digest[:16]},
        "model": content["model"],
        "likelihood": content["likelihood"],
        "balance": content["balance"],
        "penalty": content["penalty"],
        "train": {key: value for key, value in content["train"].items() if key not in IRRELEVANT},
    }


def fingerprint(subject: Subject) -> str:
    """A name for a subject."""
    text = json.dumps(subject, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remember(journal: Journal, subject: Subject, space: Range, current: float) -> None:
    """Note what a new study is about, and the weight that it starts with, if in range."""
    start = current if space.contains(current) else None
    journal.note(SUBJECT, {"of": subject, "start": start})


def start_of(journal: Journal) -> float | None:
    """The weight of trial 0: what params.yaml said when the study began; None: was out of range."""
    start: float | None = journal.notes[SUBJECT]["start"]
    return start


def space_of(journal: Journal) -> Range:
    """What the study searches, whatever params.yaml says by now."""
    tune = journal.notes[SUBJECT]["of"]["tune"]
    return Range(f"balance.{tune['parameter']}", tune["low"], tune["high"])


def refuse_other_subject(journal: Journal, subject: Subject) -> None:
    """Check that the study is about `subject`.

    Raises:
        UserError: it is not; says what differs.
    """
    before, now = flatten(journal.notes[SUBJECT]["of"], "."), flatten(subject, ".")
    keys = [key for key in [*before, *now] if before.get(key) != now.get(key)]
    if "tune.parameter" in keys:
        keys = ["tune.parameter"]
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


def refuse_pointless(settings: Settings) -> None:
    """Check that the searched weight makes a difference.

    Raises:
        UserError: there is nothing for it to balance.
    """
    tune, balance = settings.tune, settings.balance
    if tune.parameter not in type(balance).model_fields:
        raise UserError(
            f"tune.parameter = {tune.parameter!r}: balance.kind = {balance.kind!r} sets this "
            "weight itself; search the other one, or use balance.kind = fixed."
        )
    if settings.model.posterior == "deterministic":
        raise UserError(
            "model.posterior = 'deterministic': a plain autoencoder has no rate, so there is "
            "nothing to balance; set it to gaussian."
        )
    other = "alpha" if tune.parameter == "beta" else "beta"
    if getattr(balance, other, None) == 0:
        raise UserError(
            f"balance.{other} = 0: only the ratio of the weights matters, so tune.parameter = "
            f"{tune.parameter!r} would make no difference; set balance.{other} above 0."
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


def with_weight(settings: Settings, weight: float) -> TrainSettings:
    """What the train stage would read if params.yaml had this weight."""
    balance = settings.balance.replace(**{settings.tune.parameter: weight})
    values = {name: getattr(settings, name) for name in TrainSettings.model_fields}
    return TrainSettings.model_validate(values | {"balance": balance})
