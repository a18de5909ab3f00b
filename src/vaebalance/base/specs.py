"""`Spec`: the base of every object that params.yaml can name.

A Spec *is* the working object: `{kind: fixed, alpha: 1, beta: 4}` becomes `Fixed(alpha=1, beta=4)`,
whose methods do the work. A seam with several members is a pydantic discriminated union on `kind`,
which is its own registry.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Frozen and strict: no unknown key, no silent conversion, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked like the original.

        (`model_copy(update=...)` does not validate.)
        """
        return type(self).model_validate(self.model_dump() | changes)
