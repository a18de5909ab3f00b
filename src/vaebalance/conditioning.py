"""One VAE for a whole range of β: each torso is told log β, and forgets it again when asked.

Layer by layer the output h of a linear or convolutional layer becomes scale(β)·h + shift(β), by
unit or channel and before the activation, so that at any one β it folds into the layer's own weight
and bias: `ConditionedVAE.at(beta)` is an ordinary VAE. How scale and shift come from β is a
`Conditioning`; a new one is one class here and its name in that union. None of them knows the
architectures, nor do these know of it: a torso is an `nn.Sequential` of linear and convolutional
layers and of layers without weights.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from vaebalance.errors import UserError
from vaebalance.model import VAE
from vaebalance.specs import Spec

Part = Literal["encoder", "decoder"]
Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class Modulation(NamedTuple):
    """What β does to a layer's output h: scale·h + shift."""

    scale: Tensor | None  # [N, H]; None: 1
    shift: Tensor | None  # [N, H]; None: 0

    def __call__(self, h: Tensor) -> Tensor:
        """On h [N, H] or [N, H, height, width]."""
        scale, shift = (
            None if part is None else part[(...,) + (None,) * (h.ndim - 2)] for part in self
        )
        if scale is None:
            return h if shift is None else h + shift
        return h * scale if shift is None else torch.addcmul(shift, h, scale)


class AbstractModulator(nn.Module, ABC):
    """b [N], standardised log β -> the modulation of one layer, row by row."""

    @abstractmethod
    def forward(self, b: Tensor) -> Modulation:
        """The modulation at each b."""


class AbstractConditioning(Spec, ABC):
    """How a torso is told β."""

    @abstractmethod
    def modulators(self, widths: Sequence[int], part: Part) -> list[AbstractModulator | None]:
        """One for each layer of a torso, whose last one gives features or raw output.

        Args:
            widths: outputs (units or channels) of each layer.
            part: which torso.
        """


class FilmMlp(AbstractConditioning):
    """h·(1 + γ) + δ at hidden layers, γ and δ from a small MLP of b (FiLM, Perez et al. 2018).

    It begins as the plain VAE: γ = δ = 0.
    """

    kind: Literal["film_mlp"] = "film_mlp"
    width: int = Field(default=32, ge=1)
    """Hidden units of the small MLP."""

    def modulators(self, widths: Sequence[int], part: Part) -> list[AbstractModulator | None]:
        """At each layer but the last."""
        return [*(_FilmMlp(outputs, self.width) for outputs in widths[:-1]), None]


class _FilmMlp(AbstractModulator):
    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, width)
        self.out = nn.Linear(width, 2 * outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, b: Tensor) -> Modulation:
        gamma, delta = self.out(nn.functional.silu(self.hidden(b[:, None]))).chunk(2, dim=-1)
        return Modulation(1 + gamma, delta)


class MultiRate(AbstractConditioning):
    """Gates: sigmoid(wb + c) in the encoder, √relu(1 − exp(wb + c)) in the decoder (Bae 2023).

    As published: about half of the decoder's units begin closed, with no gradient to open them.
    """

    kind: Literal["multi_rate"] = "multi_rate"

    def modulators(self, widths: Sequence[int], part: Part) -> list[AbstractModulator | None]:
        """At each layer but the last."""
        gate = _EncoderGate if part == "encoder" else _DecoderGate
        return [*(gate(outputs) for outputs in widths[:-1]), None]


class _EncoderGate(AbstractModulator):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(1, outputs)

    def forward(self, b: Tensor) -> Modulation:
        return Modulation(self.linear(b[:, None]).sigmoid(), None)


class _DecoderGate(_EncoderGate):
    def forward(self, b: Tensor) -> Modulation:
        return Modulation((1 - self.linear(b[:, None]).exp()).relu().sqrt(), None)


class Concatenation(AbstractConditioning):
    """b as one more input of each torso's first layer.

    To a convolution it is a constant channel, padded with its own value at the borders: with zeros
    there, no bias of a plain convolution could take its place.
    """

    kind: Literal["concatenation"] = "concatenation"

    def modulators(self, widths: Sequence[int], part: Part) -> list[AbstractModulator | None]:
        """At the first layer."""
        return [_ExtraInput(widths[0]), *(None for _ in widths[1:])]


class _ExtraInput(AbstractModulator):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(1, outputs, bias=False)

    def forward(self, b: Tensor) -> Modulation:
        return Modulation(None, self.linear(b[:, None]))


Conditioning = Annotated[FilmMlp | MultiRate | Concatenation, Field(discriminator="kind")]


class GivenBeta:
    """A conditioned VAE at one β for each image of a batch: what `elbo_terms` takes."""

    def __init__(self, model: ConditionedVAE, betas: Tensor) -> None:
        self._model = model
        self._b = model.standardised(betas)

    @property
    def prior(self) -> Independent[Distribution]:
        """p(z), event [Z]."""
        return self._model.vae.prior

    def encode(self, x: Tensor) -> Independent[Distribution]:
        """[B, C, H, W] pixels in [0, 1] -> q(z|x, β), event [Z]."""
        model = self._model
        return model.vae.posterior(
            _run(model.vae.encoder, model.encoder_modulators, x, self._b),
        )

    def decode(self, z: Tensor) -> Distribution:
        """[..., B, Z] -> p(x|z, β), event [C, H, W]."""
        model, batch = self._model, z.shape[:-1]
        b = self._b.expand(batch).flatten()
        raw = _run(model.vae.decoder, model.decoder_modulators, z.flatten(0, -2), b)
        return model.vae.read(raw.unflatten(0, batch))


class ConditionedVAE(nn.Module):
    """A VAE that is told log β, for β from `low` to `high`."""

    def __init__(
        self, vae: VAE, conditioning: AbstractConditioning, low: float, high: float
    ) -> None:
        """Condition `vae`, which becomes part of it.

        Raises:
            UserError: the VAE has no rate, a likelihood that learns a scale, or layers that cannot
                be conditioned.
        """
        super().__init__()
        _refuse(vae)
        self.vae = vae
        self.conditioning = conditioning
        self.low, self.high = low, high
        self.encoder_modulators = _modulators(vae.encoder, conditioning, "encoder")
        self.decoder_modulators = _modulators(vae.decoder, conditioning, "decoder")

    def standardised(self, betas: Tensor) -> Tensor:
        """The logarithm of β, with mean 0 and variance 1 where β is log-uniform over the range."""
        low, high = math.log(self.low), math.log(self.high)
        return (betas.log() - (low + high) / 2) * (math.sqrt(12) / (high - low))

    def given(self, betas: Tensor) -> GivenBeta:
        """At `betas` [B], one for each image."""
        return GivenBeta(self, betas)

    @torch.no_grad()
    def at(self, beta: float) -> VAE:
        """An ordinary VAE that does what this one does at `beta`; in evaluation mode.

        Raises:
            UserError: `beta` is outside of the range that was trained.
        """
        if not self.low <= beta <= self.high:
            raise UserError(
                f"β = {beta:g}: this curve was trained for β from {self.low:g} to {self.high:g}; "
                "stay within, or train one with another curve.low or curve.high."
            )
        vae = copy.deepcopy(self.vae)
        b = self.standardised(torch.tensor([beta], device=vae.prior_mean.device))
        for torso, modulators in (
            (vae.encoder, self.encoder_modulators),
            (vae.decoder, self.decoder_modulators),
        ):
            for name, modulator in modulators.items():
                _fold(torso.get_submodule(name), modulator(b))
        return vae.eval()


def _refuse(vae: VAE) -> None:
    if not vae.is_variational:
        raise UserError(
            "model.posterior = 'deterministic': a plain autoencoder has no rate, so β changes "
            "nothing and there is no curve; set it to gaussian."
        )
    if vae.likelihood_parameters.state_dict():
        kind = vae.likelihood.model_dump()["kind"]
        raise UserError(
            f"likelihood.kind = {kind!r} learns one scale for all images, and the best one differs "
            "with β, so one conditioned model cannot hold it. Take curve.method: continuation, or "
            "a likelihood of fixed scale (gaussian with sigma, say)."
        )


def _layers(torso: nn.Module, part: Part) -> dict[str, Layer]:
    """The linear and convolutional layers of a torso by name, in order."""
    if not isinstance(torso, nn.Sequential):
        raise _unknown(torso, part)
    found: dict[str, Layer] = {}
    for name, layer in torso.named_children():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if layer.bias is None or getattr(layer, "groups", 1) != 1:
                raise UserError(
                    f"model.architecture: the {part}'s layer {layer} has no bias, or groups, so β "
                    "cannot be folded into it; take another architecture, or curve.method: "
                    "continuation."
                )
            found[name] = layer
        elif layer.state_dict():
            raise _unknown(layer, part)
    return found


def _unknown(module: nn.Module, part: Part) -> UserError:
    return UserError(
        f"model.architecture: the {part} has a {type(module).__name__}, and only linear and "
        "convolutional layers in a row can be conditioned; take another architecture, or "
        "curve.method: continuation."
    )


def _modulators(torso: nn.Module, conditioning: AbstractConditioning, part: Part) -> nn.ModuleDict:
    """Layer's name -> its modulator, where it has one."""
    layers = _layers(torso, part)
    widths = [_outputs(layer) for layer in layers.values()]
    made = conditioning.modulators(widths, part)
    if not any(made):
        raise UserError(
            f"model.architecture: the {part} has no hidden layer that curve.conditioning could "
            "act on; give it one (hidden: [256], say), or take {kind: concatenation}."
        )
    pairs = zip(layers, made, strict=True)
    return nn.ModuleDict({name: module for name, module in pairs if module is not None})


def _outputs(layer: Layer) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _run(torso: nn.Module, modulators: nn.ModuleDict, h: Tensor, b: Tensor) -> Tensor:
    """The torso on h [N, ...], its layers modulated by b [N]."""
    for name, layer in torso.named_children():
        h = layer(h)
        if name in modulators:
            h = modulators[name](b)(h)
    return h


def _fold(layer: nn.Module, modulation: Modulation) -> None:
    """Put a modulation [1, H] into a layer's own weight and bias."""
    assert isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)  # see `_layers`
    assert layer.bias is not None
    scale, shift = modulation
    if scale is not None:
        shape = [1] * layer.weight.ndim
        shape[1 if isinstance(layer, nn.ConvTranspose2d) else 0] = -1  # [in, out, …] there
        layer.weight.mul_(scale.view(shape))
        layer.bias.mul_(scale[0])
    if shift is not None:
        layer.bias.add_(shift[0])
