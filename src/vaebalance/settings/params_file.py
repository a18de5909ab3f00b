"""Writing knobs into params.yaml, with everything else in that file as it was.

What is edited is the text: comments, their columns, the order of keys and the ends of lines stay.
Every edit is read back and compared with what was wanted before anything is written.
"""

from __future__ import annotations

import difflib
import functools
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing

NAME = "params.yaml"
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NO_STRINGS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that some reader of YAML takes for something else."""

Scalar = str | float | None
Knobs = Mapping[str, Scalar]


def rewrite(path: Path, edit: Callable[[str], str]) -> str:
    """Write `edit` of the file's text, all or nothing; return the unified diff, empty if none.

    Raises:
        UserError: from `edit`; the file then stays as it was.
    """
    # As bytes: the other lines stay as they are, their ends included.
    before = path.read_bytes().decode("utf-8")
    after = edit(before)
    if after != before:
        with replacing(path) as temporary:
            temporary.write_bytes(after.encode("utf-8"))
            temporary.chmod(path.stat().st_mode)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), path.name, path.name, lineterm="", n=1
    )
    return "\n".join(lines)


def content(text: str) -> Any:
    """What a YAML 1.2 text says."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def edit_knob(text: str, knob: str, value: Scalar, name: str = NAME) -> str:
    """`text` (YAML) with `value` at the path `knob`, and a comment behind it kept in its column.

    Raises:
        UserError: the knob is not in the file, or is tied to other places of it.
    """
    wanted = content(text)
    keys = knob.split(".")
    try:
        parent = functools.reduce(operator.getitem, keys[:-1], wanted)
        is_there = parent[keys[-1]] == value
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{name} does not spell out {knob}; write it there by hand: {_yaml(value)}."
        ) from error
    if is_there:
        return text
    parent[keys[-1]] = value
    edited = _with_scalar(text, keys, value)
    if not _reads_as(edited, wanted):  # an alias, say
        raise UserError(
            f"{name}: {knob} cannot be changed without changing other keys; write it there by "
            f"hand: {_yaml(value)}."
        )
    return edited


def edit_section(
    text: str,
    section: str,
    knobs: Knobs,
    comments: Mapping[str, str] | None = None,
    name: str = NAME,
) -> str:
    """`text` (YAML) with exactly `knobs` below the top-level key `section`.

    Knobs that stay keep their place and comment; those that go take theirs with them; new ones come
    last.

    Args:
        text: of the file.
        section: `likelihood`, say.
        knobs: name -> string or number; all that the section is to hold.
        comments: name -> what to write behind a knob that is new in a section of lines.
        name: of the file, for messages.

    Raises:
        UserError: the section is not in the file, or cannot be changed alone.
    """
    wanted = content(text)
    by_hand = f"write it there by hand: {section}: {_flow(knobs)}."
    if not isinstance(wanted, dict) or not isinstance(wanted.get(section), dict):
        raise UserError(f"{name} does not spell out {section}; {by_hand}")
    before = wanted[section]
    if before == dict(knobs):
        return text
    wanted[section] = dict(knobs)
    if not _is_flow(text, section):
        edited = _edit_lines(text, section, before, knobs, comments or {})
    elif list(before) == list(knobs):
        edited = _edit_scalars(text, section, before, knobs)
    elif "#" in text[slice(*_span(text, [section]))]:
        raise UserError(f"{name}: {section} has comments within its braces; {by_hand}")
    else:
        edited = _splice(text, *_span(text, [section]), _flow(knobs))
    if not _reads_as(edited, wanted):
        raise UserError(f"{name}: {section} cannot be changed alone; {by_hand}")
    return edited


def _edit_lines(
    text: str, section: str, before: Knobs, knobs: Knobs, comments: Mapping[str, str]
) -> str:
    """A section with one line a knob."""
    for key in before:
        if key not in knobs:
            start, end = _lines(text, section, key)
            text = text[:start] + text[end:]
    text = _edit_scalars(text, section, before, knobs)
    for key in knobs:
        if key not in before:
            text = _append_line(text, section, key, knobs[key], comments.get(key, ""))
    return text


def _edit_scalars(text: str, section: str, before: Knobs, knobs: Knobs) -> str:
    for key in knobs:
        if key in before and before[key] != knobs[key]:
            text = _with_scalar(text, [section, key], knobs[key])
    return text


def _with_scalar(text: str, keys: Sequence[str], value: Scalar) -> str:
    return _splice(text, *_span(text, keys), _yaml(value))


def _splice(text: str, start: int, end: int, new: str) -> str:
    """`new` in the place of text[start:end], a comment behind it kept in its column."""
    behind = text[end:]
    if gap := re.match(r" +(?=#)", behind):
        width = max(1, len(gap[0]) + (end - start) - len(new))
        behind = " " * width + behind[gap.end() :]
    return text[:start] + new + behind


def _append_line(text: str, section: str, key: str, value: Scalar, comment: str) -> str:
    """A line for a new knob behind the section's last one, indented and commented like it."""
    start, end = _lines(text, section, _node(text, [section]).value[-1][0].value)
    last = text[start:end].splitlines()[0]
    indent = last[: len(last) - len(last.lstrip(" "))]
    line = f"{indent}{key}: {_yaml(value)}"
    if comment:
        line = f"{line.ljust(last.find(' #'))} # {comment}"
    newline = "\r\n" if "\r\n" in text else "\n"
    if not text[start:end].endswith("\n"):
        return text + newline + line
    return text[:end] + line + newline + text[end:]


def _lines(text: str, section: str, key: str) -> tuple[int, int]:
    """Where a knob's lines begin and end, with those that continue its comment."""
    name, value = next(pair for pair in _node(text, [section]).value if pair[0].value == key)
    start = text.rfind("\n", 0, name.start_mark.index) + 1
    end = _line_end(text, _last(value))
    column = text[text.rfind("\n", 0, max(end - 1, 0)) + 1 : end].find(" #") + 1
    while column and re.match(rf" {{{column}}}#", text[end:]):
        end = _line_end(text, end)
    return start, end


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _last(node: Any) -> int:
    """Where a node's text ends. (A block of lines ends, for the parser, where the next begins.)"""
    if isinstance(node.value, str) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    child = node.value[-1]
    return _last(child[1] if isinstance(child, tuple) else child)


def _is_flow(text: str, section: str) -> bool:
    return bool(_node(text, [section]).flow_style)


def _reads_as(text: str, wanted: Any) -> bool:
    from ruamel.yaml.error import YAMLError

    try:
        return bool(content(text) == wanted)
    except YAMLError:
        return False


def _node(text: str, keys: Sequence[str]) -> Any:
    """The node of `text` at the path `keys`."""
    from ruamel.yaml import YAML

    node = YAML(pure=True).compose(text)
    for key in keys:
        node = next(value for name, value in node.value if name.value == key)
    return node


def _span(text: str, keys: Sequence[str]) -> tuple[int, int]:
    """Where in `text` the value at the path `keys` begins and ends."""
    node = _node(text, keys)
    return node.start_mark.index, node.end_mark.index


def _flow(knobs: Knobs) -> str:
    return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in knobs.items()) + "}"


def _yaml(value: Scalar) -> str:
    """A number to the last bit; for readers of YAML 1.1 (which want a point) and 1.2."""
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value not in NO_STRINGS else json.dumps(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    text = repr(float(value))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
