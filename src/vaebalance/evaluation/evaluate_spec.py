"""The `evaluate` section of params.yaml."""

from __future__ import annotations

from pydantic import Field

from vaebalance.base.specs import Spec


class EvaluateSpec(Spec):
    """How the test split is measured."""

    nll_samples: int = Field(ge=1, le=100_000)
    """K of the importance-weighted nll."""
    batch_size: int = Field(ge=1)
    """Images a batch; the K samples are cut into chunks of the same memory."""
    active_threshold: float = Field(ge=0)
    """A latent is active when Var_x(E[z|x]) exceeds it (Burda et al. 2016)."""
    latent_samples: int = Field(ge=2, le=50_000)
    """Images, at most, whose codes are compared with each other and with the prior; the time
    grows with its square, the memory does not."""
    sample_images: int = Field(ge=0, le=100_000)
    """Decoded prior samples, at most, that are compared with as many test images; 0: none."""
    inception_weights: str | None = Field(min_length=1)
    """File of torchvision's Inception-v3 weights, to compare samples in its features, too."""
