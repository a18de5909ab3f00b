"""Networks of encoder and decoder: image -> features, latent -> raw decoder output.

To add an architecture, write one class here and add its name to `Architecture`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaebalance.base.errors import UserError
from vaebalance.base.specs import Spec

ImageShape = tuple[int, int, int]  # channels, height, width

Activation = Literal["relu", "tanh", "silu", "elu", "gelu", "leaky_relu"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
}
Width = Annotated[int, Field(ge=1)]


class AbstractArchitecture(Spec, ABC):
    """A pair of networks (torsos) for one image shape."""

    @abstractmethod
    def encoder(self, image_shape: ImageShape, features: int) -> nn.Module:
        """Build a network [B, C, H, W] -> [B, features]."""

    @abstractmethod
    def decoder(self, latent_size: int, raw_shape: ImageShape) -> nn.Module:
        """Build a network [B, Z] -> [B, *raw_shape]."""


class Mlp(AbstractArchitecture):
    """Fully connected; `hidden: [256, 128]` with 2 latents is the tutorials' 784-256-128-2."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = (256, 128)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    activation: Activation = "relu"
    """Activation function between the layers."""

    def encoder(self, image_shape: ImageShape, features: int) -> nn.Module:
        """Build flatten, hidden layers, linear."""
        widths = (math.prod(image_shape), *self.hidden, features)
        return nn.Sequential(nn.Flatten(), *_dense(widths, self.activation))

    def decoder(self, latent_size: int, raw_shape: ImageShape) -> nn.Module:
        """Build the encoder's mirror image."""
        widths = (latent_size, *self.hidden[::-1], math.prod(raw_shape))
        return nn.Sequential(*_dense(widths, self.activation), nn.Unflatten(1, raw_shape))


class Conv(AbstractArchitecture):
    """Strided 4×4 convolutions that halve the side, for square images from 8×8."""

    kind: Literal["conv"] = "conv"
    channels: tuple[Width, ...] = Field(default=(32, 64), min_length=1)
    """Channels after each halving; the decoder mirrors them."""
    hidden: tuple[Width, ...] = (256,)
    """Widths of the fully connected layers between the convolutions and the code."""
    activation: Activation = "relu"
    """Activation function between the layers."""

    def encoder(self, image_shape: ImageShape, features: int) -> nn.Module:
        """Build convolutions, hidden layers, linear."""
        sides = self._sides(image_shape)
        widths = (image_shape[0], *self.channels)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), self._activation()]
        dense = (widths[-1] * sides[-1] ** 2, *self.hidden, features)
        return nn.Sequential(*layers, nn.Flatten(), *_dense(dense, self.activation))

    def decoder(self, latent_size: int, raw_shape: ImageShape) -> nn.Module:
        """Build the encoder's mirror image; output padding restores odd sides."""
        sides = self._sides(raw_shape)
        widths = (*self.channels[::-1], raw_shape[0])
        dense = (latent_size, *self.hidden[::-1], widths[0] * sides[-1] ** 2)
        layers = _dense(dense, self.activation)
        layers.append(nn.Unflatten(1, (widths[0], sides[-1], sides[-1])))
        for (inputs, outputs), side in zip(pairwise(widths), sides[-2::-1], strict=True):
            layers += [
                self._activation(),
                nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, output_padding=side % 2),
            ]
        return nn.Sequential(*layers)

    def _activation(self) -> nn.Module:
        return ACTIVATIONS[self.activation]()

    def _sides(self, image_shape: ImageShape) -> list[int]:
        """Return the image's side before the first and after each convolution."""
        _, height, width = image_shape
        if height != width or height < 8:
            raise UserError(
                f"model.architecture: conv needs square images from 8×8, not {height}×{width}; set "
                "the source's size, or use {kind: mlp}."
            )
        sides = [height // 2**halvings for halvings in range(len(self.channels) + 1)]
        if sides[-1] < 1:
            raise UserError(
                f"model.architecture.channels: {len(self.channels)} halvings of a {height}×{width} "
                f"image leave nothing; give at most {int(math.log2(height))} entries."
            )
        return sides


def widened(output: Tensor) -> Tensor:
    """Convert bf16 output to float32, so that only the networks round to 8 bits of precision."""
    return output.float() if output.dtype == torch.bfloat16 else output


def _dense(widths: tuple[int, ...], activation: Activation) -> list[nn.Module]:
    """Build linear layers through `widths` with an activation between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return layers[:-1]


Architecture = Annotated[Mlp | Conv, Field(discriminator="kind")]
