"""Convert `tune.space` to a checked `Space`, and a point to settings or to text of params.yaml."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any, get_args

from vaebalance.base.errors import UserError
from vaebalance.base.specs import Spec
from vaebalance.settings import PARAMS, Settings, Span, TrainSettings, parse, view_of
from vaebalance.settings.params_file import content, edit_knob, edit_section
from vaebalance.study.space import Choices, Dimension, Point, Range, Space, Value

SECTIONS = ("model", "likelihood", "balance", "penalty", "train")
"""Sections of params.yaml that a training reads; the seed is no knob but noise."""
NO_EFFECT = ("train.checkpoint_every", "train.device")
WEIGHTS = ("balance.alpha", "balance.beta")
MOST_CORNERS = 1024

Sections = Mapping[str, Any]
"""The sections of `SECTIONS`, by name."""


def search_space(settings: Settings) -> Space:
    """Return the space that `tune.space` describes, each range checked against its knob.

    The settings' own parser reads every combination of both ends of all ranges, and all choices.

    Raises:
        UserError: a path is no knob of a training, a knob does not take the values, or only the
            ratio of the searched weights matters.
    """
    sections = _sections(settings)
    space = Space(tuple(_dimension(sections, *item) for item in settings.tune.space.items()))
    _refuse_redundant(space, has_penalty=settings.penalty.kind != "none")
    for point in _corners(space):
        with_values(settings, point)
    return space


def current_point(settings: Settings, space: Space) -> Point | None:
    """Return the point that params.yaml has; None: it lies outside of the space."""
    sections = _sections(settings)
    point = {dimension.knob: _value(sections, dimension.knob) for dimension in space.dimensions}
    if not space.contains(point):
        return None
    return point if _sections(with_values(settings, point)) == sections else None


def with_values(settings: Settings, point: Point) -> TrainSettings:
    """Return what the train stage would read if params.yaml had the values of `point`.

    A searched kind (of likelihood, balance or penalty) comes with its defaults.

    Raises:
        UserError: the settings are invalid with these values.
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
        parsed = parse(raw)
    except UserError as error:
        values = ", ".join(f"{knob} = {value}" for knob, value in point.items())
        raise UserError(f"tune.space allows {values}, which is refused:\n       {error}") from error
    return view_of(TrainSettings, parsed)


def edit_point(text: str, point: Point, name: str = PARAMS.name) -> str:
    """Return the text of params.yaml with the values of `point` and all else unchanged.

    The result must read as the settings that a trial at `point` is trained with.

    Raises:
        UserError: a knob is not in the file, or is tied to other places of it.
    """
    settings = parse(content(text), name)
    wanted = with_values(settings, point)
    for knob in sorted(point, key=lambda knob: not knob.endswith(".kind")):
        section, _, last = knob.rpartition(".")
        if last != "kind":
            text = edit_knob(text, knob, point[knob], name)
        elif getattr(settings, section) != getattr(wanted, section):
            knobs = getattr(wanted, section).model_dump(mode="json", exclude_none=True)
            text = edit_section(text, section, {"kind": point[knob], **knobs}, name=name)
    if view_of(TrainSettings, parse(content(text), name)) != wanted:
        raise UserError(f"{name}: {dict(point)} cannot be written there alone; do it by hand.")
    return text


def _sections(settings: Settings | TrainSettings) -> Sections:
    return {name: getattr(settings, name) for name in SECTIONS}


def _dimension(sections: Sections, knob: str, span: Span) -> Dimension:
    annotation = _annotation(sections, knob)
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


def _annotation(sections: Sections, knob: str) -> Any:
    """Return the type of the knob at a path."""
    value: Any = None
    fields = {name: Settings.model_fields[name] for name in SECTIONS}
    for part in knob.split("."):
        if part not in fields:
            close = difflib.get_close_matches(part, fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise UserError(
                f"tune.space.{knob}: no knob of a training with these settings{hint} "
                f"There: {', '.join(fields) or 'nothing below it'}."
            )
        annotation = fields[part].annotation
        value = sections[part] if value is None else getattr(value, part)
        fields = type(value).model_fields if isinstance(value, Spec) else {}
    if isinstance(value, Spec | tuple):
        raise UserError(f"tune.space.{knob}: not a single value; name a knob below it.")
    if knob.endswith(".kind") and knob.count(".") > 1:
        raise UserError(
            f"tune.space.{knob}: this kind could not be written back into params.yaml with its own "
            "keys; begin a study for each of them, by names of their own in tune.study."
        )
    if knob in NO_EFFECT:
        raise UserError(f"tune.space.{knob}: it changes no number of a training.")
    return annotation


def _value(sections: Sections, knob: str) -> Value:
    section, *parts = knob.split(".")
    value: Value = functools.reduce(getattr, parts, sections[section])
    return value


def _refuse_redundant(space: Space, *, has_penalty: bool) -> None:
    """Check that a factor of the loss stays fixed, since only the factors' ratios matter."""
    searched = {dimension.knob for dimension in space.dimensions}
    factors = [*WEIGHTS, *(["penalty.weight"] if has_penalty else [])]
    if searched >= set(factors):
        raise UserError(
            f"tune.space searches {' and '.join(factors)} at once, and only their ratios matter: "
            "the same models would be found again and again. Leave one out."
        )


def samples_of(space: Space) -> Iterator[Point]:
    """Yield a few points in which every end and every choice occurs."""
    for index in range(max(len(dimension.ends) for dimension in space.dimensions)):
        yield {d.knob: d.ends[index % len(d.ends)] for d in space.dimensions}


def _corners(space: Space) -> Iterator[Point]:
    knobs = [dimension.knob for dimension in space.dimensions]
    for values in islice(product(*(d.ends for d in space.dimensions)), MOST_CORNERS):
        yield dict(zip(knobs, values, strict=True))
