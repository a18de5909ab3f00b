"""The `evaluate` section of params.yaml."""

from __future__ import annotations

from pydantic import Field

from vaebalance.base.specs import Spec


class EvaluateSpec(Spec):
    """Settings of the measurements on the test split."""

    nll_samples: int = Field(ge=1, le=100_000)
    """Number of samples K of the importance-weighted nll."""
    batch_size: int = Field(ge=1)
    """Images per batch; the K samples are divided into chunks of the same memory."""
    active_threshold: float = Field(ge=0)
    """A latent is active if Var_x(E[z|x]) exceeds this (Burda et al. 2016)."""
    latent_samples: int = Field(ge=2, le=50_000)
    """Largest number of images whose codes are compared with each other and with the prior. Time
    grows with its square, memory does not."""
    sample_images: int = Field(ge=0, le=100_000)
    """Largest number of decoded prior samples to compare with as many test images; 0: none."""
    inception_weights: str | None = Field(min_length=1)
    """File of torchvision's Inception-v3 weights, to compare samples in its features as well."""
