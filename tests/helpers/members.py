"""The members of a discriminated union, so that tests cover a new member automatically."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import ValidationError


def kinds(union: Any) -> tuple[type, ...]:
    """Return the classes of `Annotated[A | B, Field(discriminator="kind")]`."""
    return get_args(get_args(union)[0])


def examples(union: Any, *given: Any) -> list[Any]:
    """Return `given`, and for every class without an example in it one with default values."""
    missing = [kind for kind in kinds(union) if kind not in {type(example) for example in given}]
    return [*given, *map(_default, missing)]


def _default(kind: type) -> Any:
    try:
        return kind()
    except ValidationError as error:
        raise AssertionError(
            f"{kind.__name__} has no default for all of its fields: add an example of it to the "
            f"call of `examples` in its room's tests ({error})"
        ) from error
