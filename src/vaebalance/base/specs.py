"""`Spec`, the base class of the objects in params.yaml.

A Spec is the working object itself: `{kind: fixed, alpha: 1, beta: 4}` becomes
`Fixed(alpha=1, beta=4)`, whose methods do the work. Alternatives, such as the likelihoods, form a
pydantic union discriminated by `kind`; the union is their registry.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen, strict pydantic model without unknown keys, conversions, NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`, validated like the original.

        (`model_copy(update=...)` does not validate.)
        """
        return type(self).model_validate(self.model_dump() | changes)
