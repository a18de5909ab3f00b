"""The searched knobs among the settings: `tune.space` -> a checked `Space`, a point -> settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice, product
from typing import Any, get_args

from vaebalance.base.errors import UserError
from vaebalance.base.specs import Spec
from vaebalance.settings import Settings, Span, TrainSettings, parse
from vaebalance.study.space import Choices, Dimension, Point, Range, Space, Value

SECTIONS = ("model", "likelihood", "balance", "penalty", "train")
"""Of params.yaml: what a training reads, but for the seed, which is no knob but noise."""
NO_EFFECT = ("train.checkpoint_every", "train.device")
WEIGHTS = ("balance.alpha", "balance.beta")
MOST_CORNERS = 1024


def search_space(settings: Settings) -> Space:
    """What `tune.space` names, each range checked against its knob.

    Both ends of every range, and all choices, are put into the settings in every combination and
    read by the settings' own parser.

    Raises:
        UserError: a path that is no knob of a training, values that it does not take, or weights
            of which only the ratio matters.
    """
    dimensions = tuple(_dimension(settings, *item) for item in settings.tune.space.items())
    space = Space(dimensions)
    _refuse_redundant(settings, space)
    for point in _corners(space):
        with_values(settings, point)
    return space


def current_point(settings: Settings, space: Space) -> Point | None:
    """What params.yaml says of the searched knobs; None where no point of the space says it."""
    point = {dimension.knob: _value(settings, dimension.knob) for dimension in space.dimensions}
    if not space.contains(point):
        return None
    found = with_values(settings, point)
    return point if all(getattr(settings, n) == getattr(found, n) for n in SECTIONS) else None


def with_values(settings: Settings, point: Point) -> TrainSettings:
    """What the train stage would read if params.yaml had these values.

    A searched kind (of likelihood, balance or penalty) comes with its defaults.

    Raises:
        UserError: together they make no valid settings.
    """
    raw = settings.model_dump(mode="json")
    for knob in sorted(point, key=lambda knob: not knob.endswith(".kind")):
        *parents, last = knob.split(".")
        section = raw
        for part in parents:
            section = section[part]
        if last == "kind":
            section.clear()
        section[last] = point[knob]
    try:
        found = parse(raw)
    except UserError as error:
        values = ", ".join(f"{knob} = {value}" for knob, value in point.items())
        raise UserError(f"tune.space allows {values}, which is refused:\n       {error}") from error
    return TrainSettings.model_validate(
        {name: getattr(found, name) for name in TrainSettings.model_fields}
    )


def _dimension(settings: Settings, knob: str, span: Span) -> Dimension:
    annotation = _annotation(settings, knob)
    if span.choices is not None:
        return Choices(knob, span.choices)
    assert span.low is not None  # checked by Span
    assert span.high is not None
    members = {annotation, *get_args(annotation)}
    if not members & {int, float}:
        raise UserError(
            f"tune.space.{knob} = {{low: {span.low:g}, high: {span.high:g}}}: this knob is no "
            "number; give choices."
        )
    whole = int in members and float not in members
    if whole and not (span.low.is_integer() and span.high.is_integer()):
        raise UserError(
            f"tune.space.{knob} = {{low: {span.low:g}, high: {span.high:g}}}: this knob takes "
            "whole numbers, so both ends must be whole."
        )
    return Range(knob, span.low, span.high, span.log, whole)


def _annotation(settings: Settings, knob: str) -> Any:
    """The type of the knob at a path."""
    found: Any = settings
    annotation: Any = Settings
    for number, part in enumerate(knob.split(".")):
        fields = type(found).model_fields if isinstance(found, Spec) else {}
        if number == 0:
            fields = {name: fields[name] for name in SECTIONS}
        if part not in fields:
            close = difflib.get_close_matches(part, fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise UserError(
                f"tune.space.{knob}: no knob of a training with these settings{hint} "
                f"There: {', '.join(fields) or 'nothing below it'}."
            )
        annotation, found = fields[part].annotation, getattr(found, part)
    if isinstance(found, Spec | tuple):
        raise UserError(f"tune.space.{knob}: not a single value; name a knob below it.")
    if knob.endswith(".kind") and knob.count(".") > 1:
        raise UserError(
            f"tune.space.{knob}: this kind could not be written back into params.yaml with its own "
            "keys; begin a study for each of them, by names of their own in tune.study."
        )
    if knob in NO_EFFECT:
        raise UserError(f"tune.space.{knob}: it changes no number of a training.")
    return annotation


def _value(settings: Settings, knob: str) -> Value:
    found: Any = settings
    for part in knob.split("."):
        found = getattr(found, part)
    value: Value = found
    return value


def _refuse_redundant(settings: Settings, space: Space) -> None:
    """Of several factors of the loss only the ratios matter: one must stand still."""
    searched = {dimension.knob for dimension in space.dimensions}
    factors = [*WEIGHTS, *(["penalty.weight"] if settings.penalty.kind != "none" else [])]
    if searched >= set(factors):
        raise UserError(
            f"tune.space searches {' and '.join(factors)} at once, and only their ratios matter: "
            "the same models would be found again and again. Leave one out."
        )


def samples_of(space: Space) -> Iterator[Point]:
    """A few points in which every end and every choice occurs."""
    for index in range(max(len(dimension.ends) for dimension in space.dimensions)):
        yield {d.knob: d.ends[index % len(d.ends)] for d in space.dimensions}


def _corners(space: Space) -> Iterator[Point]:
    knobs = [dimension.knob for dimension in space.dimensions]
    for values in islice(product(*(d.ends for d in space.dimensions)), MOST_CORNERS):
        yield dict(zip(knobs, values, strict=True))
