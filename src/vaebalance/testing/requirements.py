"""Report violated requirements, and check those of every `Spec`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, get_args, get_origin

import torch
from torch import Tensor

from vaebalance.base.specs import Spec


def report(subject: object, violations: Iterable[str]) -> None:
    """Raise an AssertionError that lists the violations, if there are any.

    A check that raises an exception counts as one more violation and ends the list.
    """
    listed: list[str] = []
    try:
        listed.extend(violations)
    except Exception as error:
        listed += [f"a check ended in {type(error).__name__}: {error}"]
        raise AssertionError(_message(subject, listed)) from error
    if listed:
        raise AssertionError(_message(subject, listed))


def _message(subject: object, violations: list[str]) -> str:
    return "\n  - ".join([f"{subject!r} violates {len(violations)} requirement(s):", *violations])


def spec_requirements(spec: Spec) -> Iterator[str]:
    """Check that files can name the object by `kind`, and that it is equal when read back."""
    kind = type(spec).model_fields.get("kind")
    if kind is None or get_origin(kind.annotation) is not Literal:
        yield (
            f"a union tells its members apart by `kind`, and {type(spec).__name__} has none: add "
            '`kind: Literal["name"] = "name"`.'
        )
    elif get_args(kind.annotation) != (kind.default,):
        yield f"`kind` has one value, its default, not {kind.annotation} = {kind.default!r}."
    if type(spec).model_validate_json(spec.model_dump_json()) != spec:
        yield (
            f"a saved object is equal when read back, but {spec.model_dump_json()} is not: keep "
            "all its data in fields."
        )


def knob_requirements(spec: Spec, section: str, advice: Iterable[str]) -> Iterator[str]:
    """Check that every `section.knob` in advice is a field of `spec`."""
    for text in advice:
        unknown = set(re.findall(rf"\b{section}\.(\w+)", text)) - set(type(spec).model_fields)
        if unknown:
            yield (
                f"advice names existing knobs, but {sorted(unknown)} are none of "
                f"{sorted(type(spec).model_fields)}: correct {text!r}."
            )


def is_close(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> bool:
    """Return whether two tensors have the same shape and close values; NaN equals nothing."""
    return first.shape == second.shape and torch.allclose(
        first.double(), second.double(), rtol=tolerance, atol=tolerance
    )


def shown(value: Tensor) -> str:
    """Format a tensor briefly."""
    flat = value.detach().flatten()
    numbers = ", ".join(f"{number:.6g}" for number in flat[:4].tolist())
    return f"[{numbers}{', …' if len(flat) > 4 else ''}] of shape {tuple(value.shape)}"
