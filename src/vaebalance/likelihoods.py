"""What the decoder says about a pixel: raw decoder output -> p(x|z).

A new likelihood is one class here and its name in `Likelihood`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent, Normal, constraints

from vaebalance.specs import Spec

IMAGE_DIMENSIONS = 3  # channel, height, width


class AbstractLikelihood(Spec, ABC):
    """p(x|z) for pixels x in [0, 1]."""

    is_density: ClassVar[bool] = True
    """Whether D = -log p(x|z) is nats of a normalised density or probability mass."""

    @abstractmethod
    def distribution(self, raw: Tensor) -> Distribution:
        """Read raw decoder output [..., C, H, W] as p(x|z), event [C, H, W]."""

    def distortion_in_nats(self, mean: float, mean_square: float, dimensions: int) -> float:
        """The distortion of a split in nats per image.

        Args:
            mean: of the distortions of its images, as this likelihood defines them.
            mean_square: of the same distortions.
            dimensions: n = C·H·W.
        """
        return mean

    def caution(self, *, binarised: bool) -> str | None:
        """What a reader of this likelihood's numbers on such pixels must know, if anything."""
        return None


class Bernoulli(AbstractLikelihood):
    """BCE from logits: D = Σ_i softplus(l_i) − x_i·l_i."""

    kind: Literal["bernoulli"] = "bernoulli"

    def distribution(self, raw: Tensor) -> Distribution:
        """Independent Bernoulli pixels with logits `raw`."""
        pixels = TorchBernoulli(logits=raw, validate_args=False)  # grey values are allowed
        return Independent(pixels, IMAGE_DIMENSIONS, validate_args=False)

    def caution(self, *, binarised: bool) -> str | None:
        """BCE on grey pixels is no normalised likelihood."""
        if binarised:
            return None
        return (
            "BCE on grey pixels is not a normalised likelihood: its nats compare with other BCE "
            "models only. Set data.binarisation (threshold, static or dynamic), or a likelihood "
            "made for grey values (gaussian; continuous Bernoulli is the normalised BCE)."
        )


class Gaussian(AbstractLikelihood):
    """Fixed σ: D = ‖x − x̂‖² / (2σ²) + (n/2)·log(2πσ²), so "α·SSE + KL" is σ² = 1/(2α)."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float = Field(default=0.1, gt=0)
    """Standard deviation of a pixel about its reconstruction, in the unit range."""

    def distribution(self, raw: Tensor) -> Distribution:
        """Independent normal pixels about sigmoid(raw): the mean stays in the pixels' range."""
        mean = torch.sigmoid(raw)
        scale = torch.full_like(mean, self.sigma)
        return Independent(
            Normal(mean, scale, validate_args=False), IMAGE_DIMENSIONS, validate_args=False
        )


class RmseEnergy(Distribution):
    """−RMSE of an image about `mean` in the place of a log-probability. Not a density."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, mean: Tensor) -> None:
        shape = mean.shape
        super().__init__(
            batch_shape=shape[:-IMAGE_DIMENSIONS],
            event_shape=shape[-IMAGE_DIMENSIONS:],
            validate_args=False,
        )
        self._mean = mean

    @property
    def mean(self) -> Tensor:
        """The reconstruction, [..., C, H, W]."""
        return self._mean

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., C, H, W] -> −RMSE, [...]; in pixel values of the unit range, not in nats."""
        squared_error = (self._mean - value).square()
        # The square root's gradient is infinite at a perfect reconstruction.
        return -(squared_error.flatten(-IMAGE_DIMENSIONS).mean(-1) + 1e-12).sqrt()


class Rmse(AbstractLikelihood):
    """D = RMSE of each image: the "α·RMSE + KL" of audio-VAE courses. Not a log-likelihood.

    Its effective variance n·RMSE/α adapts itself partly. Numbers in nats are those of the Gaussian
    with σ² set to the mean squared error of the split: D = (n/2)·log(2πe·MSE).
    """

    kind: Literal["rmse"] = "rmse"
    is_density: ClassVar[bool] = False

    def distribution(self, raw: Tensor) -> Distribution:
        """The energy −RMSE about sigmoid(raw)."""
        return RmseEnergy(torch.sigmoid(raw))

    def distortion_in_nats(self, mean: float, mean_square: float, dimensions: int) -> float:
        """The Gaussian's distortion at σ² = mean squared error, which is the mean of RMSE²."""
        return 0.5 * dimensions * math.log(2 * math.pi * math.e * mean_square)

    def caution(self, *, binarised: bool) -> str | None:
        """RMSE has no nll of its own."""
        return (
            "RMSE is not a log-likelihood: negative ELBO and nll are those of a Gaussian whose "
            "σ is calibrated on the data."
        )


Likelihood = Annotated[Bernoulli | Gaussian | Rmse, Field(discriminator="kind")]
