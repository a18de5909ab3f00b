"""The `evaluate` section of params.yaml."""

from __future__ import annotations

from pydantic import Field

from vaebalance.specs import Spec


class EvaluateSpec(Spec):
    """How the test split is measured."""

    nll_samples: int = Field(ge=1, le=100_000)
    """K of the importance-weighted nll."""
    batch_size: int = Field(ge=1)
    """Images a batch; the K samples are cut into chunks of the same memory."""
    active_threshold: float = Field(ge=0)
    """A latent is active when Var_x(E[z|x]) exceeds it (Burda et al. 2016)."""
