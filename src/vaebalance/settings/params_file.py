"""Edits of params.yaml that leave the rest of the file unchanged.

The edits work on the text, so comments, their columns, the order of keys and line endings stay.
Each edit is read back and compared with the wanted content before anything is written. (A load and
dump by ruamel.yaml changes lines that nobody edited: it drops `null`, line endings of CR LF and
spaces within braces, and removes the comments and blank lines that follow a removed key.)
"""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing

NAME = "params.yaml"
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NO_STRINGS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that some YAML readers do not take for strings."""

Scalar = str | float | None
Knobs = Mapping[str, Scalar]


def rewrite(path: Path, edit: Callable[[str], str]) -> str:
    """Apply `edit` to the file's text, all or nothing, and return the unified diff (may be empty).

    Raises:
        UserError: raised by `edit`; the file then stays unchanged.
    """
    # Read and write bytes, to keep the line endings.
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
    """Return the plain content of a YAML 1.2 text."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def edit_knob(text: str, knob: str, value: Scalar, name: str = NAME) -> str:
    """Return `text` (YAML) with `value` at the path `knob`, its comment kept in the same column.

    Raises:
        UserError: the file does not contain the key, or other keys share its value (an alias).
    """
    wanted = content(text)
    keys = knob.split(".")
    try:
        parent = reduce(operator.getitem, keys[:-1], wanted)
        is_there = parent[keys[-1]] == value
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{name} does not contain {knob}; write it there by hand: {_yaml(value)}."
        ) from error
    if is_there:
        return text
    parent[keys[-1]] = value
    return _checked(
        lambda: _with_scalar(text, keys, value),
        wanted,
        f"{name}: {knob} cannot be changed without changing other keys; write it there by hand: "
        f"{_yaml(value)}.",
    )


def edit_section(
    text: str,
    section: str,
    knobs: Knobs,
    comments: Mapping[str, str] | None = None,
    name: str = NAME,
) -> str:
    """Return `text` (YAML) with exactly `knobs` below the top-level key `section`.

    Keys that remain keep their place and comment, removed keys lose theirs, and new keys come last.

    Args:
        text: content of the file.
        section: top-level key, such as `likelihood`.
        knobs: the section's new content, name -> string or number.
        comments: name -> comment for a key that is added on a line of its own.
        name: name of the file, for messages.

    Raises:
        UserError: the file does not contain the section, or it cannot be changed alone.
    """
    wanted = content(text)
    by_hand = f"write it there by hand: {section}: {_flow(knobs)}."
    if not isinstance(wanted, dict) or not isinstance(wanted.get(section), dict):
        raise UserError(f"{name} does not contain {section}; {by_hand}")
    before = wanted[section]
    if before == dict(knobs):
        return text
    wanted[section] = dict(knobs)
    if not _node(text, [section]).flow_style:
        edit = partial(_edit_lines, text, section, before, knobs, comments or {})
    elif list(before) == list(knobs):
        edit = partial(_edit_scalars, text, section, before, knobs)
    elif "#" in text[slice(*_span(text, [section]))]:
        raise UserError(f"{name}: {section} has comments within its braces; {by_hand}")
    else:
        edit = partial(_splice, text, *_span(text, [section]), _flow(knobs))
    return _checked(edit, wanted, f"{name}: {section} cannot be changed alone; {by_hand}")


def _checked(edit: Callable[[], str], wanted: Any, refusal: str) -> str:
    """Return the edited text if it reads as `wanted`, else raise a UserError with `refusal`."""
    from ruamel.yaml.error import YAMLError

    try:
        edited = edit()
        is_right = content(edited) == wanted
    except (LookupError, YAMLError) as error:  # the edit took another key or an anchor with it
        raise UserError(refusal) from error
    if not is_right:  # for example because of an alias
        raise UserError(refusal)
    return edited


def _edit_lines(
    text: str, section: str, before: Knobs, knobs: Knobs, comments: Mapping[str, str]
) -> str:
    """Edit a section that has one line per key."""
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
    """Replace text[start:end] by `new`, keeping a comment behind it in the same column."""
    behind = text[end:]
    if gap := re.match(r" +(?=#)", behind):
        width = max(1, len(gap[0]) + (end - start) - len(new))
        behind = " " * width + behind[gap.end() :]
    return text[:start] + new + behind


def _append_line(text: str, section: str, key: str, value: Scalar, comment: str) -> str:
    """Add a line for a new key after the section's last one, in the same columns."""
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
    """Return start and end of a key's lines, including those that continue its comment."""
    name, value = _pairs(_node(text, [section]))[key]
    start = text.rfind("\n", 0, name.start_mark.index) + 1
    end = _line_end(text, _content_end(value))
    column = text[text.rfind("\n", 0, max(end - 1, 0)) + 1 : end].find(" #") + 1
    while column and re.match(rf" {{{column}}}#", text[end:]):
        end = _line_end(text, end)
    return start, end


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _content_end(node: Any) -> int:
    """Return where a node's text ends. (The parser ends a block where the next one begins.)"""
    if isinstance(node.value, str) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    child = node.value[-1]
    return _content_end(child[1] if isinstance(child, tuple) else child)


def _node(text: str, keys: Sequence[str]) -> Any:
    """Return the YAML node at the path `keys`."""
    from ruamel.yaml import YAML

    node = YAML(pure=True).compose(text)
    for key in keys:
        _, node = _pairs(node)[key]
    return node


def _pairs(mapping: Any) -> dict[str, tuple[Any, Any]]:
    """Return the nodes of each key and its value, by key."""
    return {name.value: (name, value) for name, value in mapping.value} if mapping else {}


def _span(text: str, keys: Sequence[str]) -> tuple[int, int]:
    """Return start and end, in `text`, of the value at the path `keys`."""
    node = _node(text, keys)
    return node.start_mark.index, node.end_mark.index


def _flow(knobs: Knobs) -> str:
    return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in knobs.items()) + "}"


def _yaml(value: Scalar) -> str:
    """Format a value exactly, for readers of YAML 1.1 (whose floats need a point) and 1.2."""
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value not in NO_STRINGS else json.dumps(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    text = repr(float(value))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
