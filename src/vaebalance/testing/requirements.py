"""How requirements are checked and reported, and those of every `Spec`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, get_args, get_origin

import torch
from torch import Tensor

from vaebalance.base.specs import Spec


def report(subject: object, violations: Iterable[str]) -> None:
    """Raise an AssertionError that lists the violations, if there are any.

    A check that fails with an exception of its own is one more violation, the last.
    """
    found: list[str] = []
    try:
        found.extend(violations)
    except Exception as error:
        found += [f"a check ended in {type(error).__name__}: {error}"]
        raise AssertionError(_listed(subject, found)) from error
    if found:
        raise AssertionError(_listed(subject, found))


def _listed(subject: object, found: list[str]) -> str:
    return "\n  - ".join([f"{subject!r} violates {len(found)} requirement(s):", *found])


def spec_requirements(spec: Spec) -> Iterator[str]:
    """Check that params.yaml and model.json can name it, and that a copy of that is equal."""
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
            f"what is saved builds an equal object, but {spec.model_dump_json()} does not: keep "
            "all that it knows in fields."
        )


def knob_requirements(spec: Spec, section: str, advice: Iterable[str]) -> Iterator[str]:
    """Check that what advice names as `section.knob` is a field of `spec`."""
    for text in advice:
        unknown = set(re.findall(rf"\b{section}\.(\w+)", text)) - set(type(spec).model_fields)
        if unknown:
            yield (
                f"advice names knobs that there are, but {sorted(unknown)} are none of "
                f"{sorted(type(spec).model_fields)}: mend {text!r}."
            )


def is_close(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors have the same shape and about the same values, NaN being none."""
    return first.shape == second.shape and torch.allclose(
        first.double(), second.double(), rtol=tolerance, atol=tolerance
    )


def shown(value: Tensor) -> str:
    """A tensor in a few characters."""
    flat = value.detach().flatten()
    numbers = ", ".join(f"{number:.6g}" for number in flat[:4].tolist())
    return f"[{numbers}{', …' if len(flat) > 4 else ''}] of shape {tuple(value.shape)}"
