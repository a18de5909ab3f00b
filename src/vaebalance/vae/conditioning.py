"""One VAE for a whole range of β: each torso is conditioned on log β, and folded at a β on request.

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

from vaebalance.base.errors import UserError
from vaebalance.base.specs import Spec
from vaebalance.vae.model import VAE
from vaebalance.vae.networks import widened

Part = Literal["encoder", "decoder"]
Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class Modulation(NamedTuple):
    """What β does to a layer's output h: scale·h + shift."""

    scale: Tensor | None  # [G, 1, H]; None: 1
    shift: Tensor | None  # [G, 1, H]; None: 0

    def __call__(self, h: Tensor) -> Tensor:
        """On h [N, H] or [N, H, height, width], whose N/G neighbours have one β."""
        groups = next(len(part) for part in self if part is not None)
        scale, shift = (_like(part, h) for part in self)
        changed = h.reshape(groups, -1, *h.shape[1:])
        # (Not addcmul, which on a processor takes many times as long in bf16, and on maps.)
        if scale is not None:
            changed = changed * scale
        if shift is not None:
            changed = changed + shift
        return changed.reshape(h.shape)


def _like(part: Tensor | None, h: Tensor) -> Tensor | None:
    """A modulation's part [G, 1, H] for h, in the precision that h is in."""
    if part is None:
        return None
    part = part.to(h.dtype)
    return part if h.ndim == 2 else part[..., None, None]


class AbstractModulator(nn.Module, ABC):
    """b [G], standardised log β -> what it does to the layers of a torso, from the first on."""

    @abstractmethod
    def forward(self, b: Tensor) -> list[Modulation]:
        """One for each layer that is modulated."""


class AbstractConditioning(Spec, ABC):
    """How a torso is conditioned on β."""

    @abstractmethod
    def modulated(self, widths: Sequence[int], part: Part) -> Sequence[int]:
        """Of the outputs (units or channels) of each layer, those that it acts on: the first ones.

        The last layer gives features or raw output.
        """

    @abstractmethod
    def modulator(self, widths: Sequence[int], part: Part) -> AbstractModulator:
        """For the layers that `modulated` gave."""


class FilmMlp(AbstractConditioning):
    """h·(1 + γ) + δ at hidden layers, γ and δ from a small MLP of b (FiLM, Perez et al. 2018).

    One such MLP for a torso, since with one for each layer a small net's step waits for many small
    operations. It begins as the plain VAE: γ = δ = 0.
    """

    kind: Literal["film_mlp"] = "film_mlp"
    width: int = Field(default=128, ge=1)
    """Hidden units of the small MLP. (With 32 the largest β of sprites lagged by 7 to 12%, with
    128 by 4 to 9%; on MNIST there was no difference. The spline needs neither.)"""

    def modulated(self, widths: Sequence[int], part: Part) -> Sequence[int]:
        """All but the last."""
        return widths[:-1]

    def modulator(self, widths: Sequence[int], part: Part) -> AbstractModulator:
        """The same for both torsos."""
        return _FilmMlp(widths, self.width)


class _FilmMlp(AbstractModulator):
    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self._widths = list(widths)
        self.hidden = nn.Linear(1, width)
        self.out = nn.Linear(width, 2 * sum(widths))  # all 1 + γ, then all δ
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.ones_(self.out.bias[: sum(widths)])

    def forward(self, b: Tensor) -> list[Modulation]:
        out = self.out(nn.functional.silu(self.hidden(b[:, None, None])))
        parts = out.split(2 * self._widths, -1)
        count = len(self._widths)
        return [Modulation(*pair) for pair in zip(parts[:count], parts[count:], strict=True)]


class FilmSpline(AbstractConditioning):
    """h·(1 + γ) + δ, each γ and δ piecewise linear in log β, with values of its own at knots.

    FiLM (Perez et al. 2018) without an MLP between: a β has the parameters of the knots on both
    sides of it, which other β hardly move, and a step has one small product a torso. The encoder's
    last layer is conditioned too, so that a latent closes where β is large and nowhere else. It
    begins as the plain VAE: γ = δ = 0.
    """

    kind: Literal["film_spline"] = "film_spline"
    knots: int = Field(default=8, ge=2)
    """Evenly spaced in log β from the least to the largest."""

    def modulated(self, widths: Sequence[int], part: Part) -> Sequence[int]:
        """All of the encoder, all but the last of the decoder, whose outputs are many."""
        return widths if part == "encoder" else widths[:-1]

    def modulator(self, widths: Sequence[int], part: Part) -> AbstractModulator:
        """The same for both torsos."""
        return _FilmSpline(widths, self.knots)


GAIN = 5.0
"""Of γ and δ over the parameters that hold them. Adam moves a parameter by its learning rate a
step; a γ has further to go than a weight, and each knot sees a share of the steps. (On MNIST the
least β was 0.6% above a separate run with 5, 10% with 20; on sprites the largest 5 to 7% with
either. An MLP in the spline's place has such a gain by the number of its hidden units.)"""


class _FilmSpline(AbstractModulator):
    start: Tensor  # [2·outputs]: all 1 + γ and all δ where the parameters are 0
    places: Tensor  # [K] of the knots, in units of their spacing

    def __init__(self, widths: Sequence[int], knots: int) -> None:
        super().__init__()
        self._widths = list(widths)
        outputs = sum(widths)
        self.values = nn.Parameter(torch.zeros(knots, 2 * outputs))
        start = torch.cat([torch.ones(outputs), torch.zeros(outputs)])
        self.register_buffer("start", start, persistent=False)
        edge = math.sqrt(3)  # where a variance of 1 puts the ends of an even distribution
        self._density = (knots - 1) / (2 * edge)
        places = torch.linspace(-edge, edge, knots) * self._density
        self.register_buffer("places", places, persistent=False)

    def forward(self, b: Tensor) -> list[Modulation]:
        from_knots = torch.sub(self.places, b[:, None], alpha=self._density).abs()
        hats = torch.rsub(from_knots, GAIN, alpha=GAIN).relu()  # [G, K], sums GAIN
        out = torch.addmm(self.start, hats, self.values)
        parts = out[:, None].split(2 * self._widths, -1)
        count = len(self._widths)
        return [Modulation(*pair) for pair in zip(parts[:count], parts[count:], strict=True)]


class MultiRate(AbstractConditioning):
    """Gates: sigmoid(wb + c) in the encoder, √relu(1 − exp(wb + c)) in the decoder (Bae 2023).

    As published: about half of the decoder's units begin closed, with no gradient to open them.
    """

    kind: Literal["multi_rate"] = "multi_rate"

    def modulated(self, widths: Sequence[int], part: Part) -> Sequence[int]:
        """All but the last."""
        return widths[:-1]

    def modulator(self, widths: Sequence[int], part: Part) -> AbstractModulator:
        """Of a kind for each torso."""
        return _EncoderGates(widths) if part == "encoder" else _DecoderGates(widths)


class _EncoderGates(AbstractModulator):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self._widths = list(widths)
        self.linear = nn.Linear(1, sum(widths))

    def forward(self, b: Tensor) -> list[Modulation]:
        gates = self._gates(self.linear(b[:, None, None]))
        return [Modulation(gate, None) for gate in gates.split(self._widths, -1)]

    def _gates(self, a: Tensor) -> Tensor:
        return a.sigmoid()


class _DecoderGates(_EncoderGates):
    def _gates(self, a: Tensor) -> Tensor:
        return (1 - a.exp()).relu().sqrt()


class Concatenation(AbstractConditioning):
    """b as one more input of each torso's first layer.

    To a convolution it is a constant channel, padded with its own value at the borders: with zeros
    there, no bias of a plain convolution could take its place.
    """

    kind: Literal["concatenation"] = "concatenation"

    def modulated(self, widths: Sequence[int], part: Part) -> Sequence[int]:
        """The first."""
        return widths[:1]

    def modulator(self, widths: Sequence[int], part: Part) -> AbstractModulator:
        """The same for both torsos."""
        return _ExtraInput(widths[0])


class _ExtraInput(AbstractModulator):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(1, outputs, bias=False)

    def forward(self, b: Tensor) -> list[Modulation]:
        return [Modulation(None, self.linear(b[:, None, None]))]


Conditioning = Annotated[
    FilmSpline | FilmMlp | MultiRate | Concatenation, Field(discriminator="kind")
]


class GivenBeta:
    """A conditioned VAE at given β: what `elbo_terms` takes.

    There are G β for a batch of B images: B/G neighbours share one.
    """

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
        modulations = model.encoder_modulator(self._b)
        return model.vae.posterior(widened(_run(model.vae.encoder, modulations, x)))

    def decode(self, z: Tensor) -> Distribution:
        """[..., B, Z] -> p(x|z, β), event [C, H, W]."""
        model, batch = self._model, z.shape[:-1]
        b = self._b.expand(*batch[:-1], -1).flatten()
        raw = widened(_run(model.vae.decoder, model.decoder_modulator(b), z.flatten(0, -2)))
        return model.vae.read(raw.unflatten(0, batch))


class ConditionedVAE(nn.Module):
    """A VAE conditioned on log β, for β from `low` to `high`."""

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
        self.encoder_modulator = _modulator(vae.encoder, conditioning, "encoder")
        self.decoder_modulator = _modulator(vae.decoder, conditioning, "decoder")

    def standardised(self, betas: Tensor) -> Tensor:
        """The logarithm of β, with mean 0 and variance 1 where β is log-uniform over the range."""
        low, high = math.log(self.low), math.log(self.high)
        return (betas.log() - (low + high) / 2) * (math.sqrt(12) / (high - low))

    def given(self, betas: Tensor) -> GivenBeta:
        """At `betas` [G], one for each image of a batch, or for as many neighbours in it."""
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
        for torso, part, modulator in (
            (vae.encoder, "encoder", self.encoder_modulator),
            (vae.decoder, "decoder", self.decoder_modulator),
        ):
            # Without strict: those after the last that is modulated stay as they are.
            for layer, modulation in zip(_layers(torso, part), modulator(b), strict=False):
                _fold(layer, modulation)
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


def _layers(torso: nn.Module, part: str) -> list[Layer]:
    """The linear and convolutional layers of a torso, in order."""
    if not isinstance(torso, nn.Sequential):
        raise _unknown(torso, part)
    found: list[Layer] = []
    for layer in torso.children():
        if isinstance(layer, Layer):
            if layer.bias is None or getattr(layer, "groups", 1) != 1:
                raise UserError(
                    f"model.architecture: the {part}'s layer {layer} has no bias, or groups, so β "
                    "cannot be folded into it; take another architecture, or curve.method: "
                    "continuation."
                )
            found.append(layer)
        elif layer.state_dict():
            raise _unknown(layer, part)
    return found


def _unknown(module: nn.Module, part: str) -> UserError:
    return UserError(
        f"model.architecture: the {part} has a {type(module).__name__}, and only linear and "
        "convolutional layers in a row can be conditioned; take another architecture, or "
        "curve.method: continuation."
    )


def _modulator(
    torso: nn.Module, conditioning: AbstractConditioning, part: Part
) -> AbstractModulator:
    """What tells a torso β."""
    widths = conditioning.modulated([_outputs(layer) for layer in _layers(torso, part)], part)
    if not widths:
        raise UserError(
            f"model.architecture: the {part} has no hidden layer that curve.conditioning could "
            "act on; give it one (hidden: [256], say), or take {kind: concatenation}."
        )
    return conditioning.modulator(widths, part)


def _outputs(layer: Layer) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _run(torso: nn.Module, modulations: Sequence[Modulation], h: Tensor) -> Tensor:
    """The torso on h [N, ...], its first layers modulated."""
    left = iter(modulations)
    for layer in torso.children():
        h = layer(h)
        if isinstance(layer, Layer) and (modulation := next(left, None)) is not None:
            h = modulation(h)
    return h


def _fold(layer: Layer, modulation: Modulation) -> None:
    """Put a modulation [1, 1, H] into a layer's own weight and bias."""
    assert layer.bias is not None  # see `_layers`
    scale, shift = modulation
    if scale is not None:
        shape = [1] * layer.weight.ndim
        shape[1 if isinstance(layer, nn.ConvTranspose2d) else 0] = -1  # [in, out, …] there
        layer.weight.mul_(scale.view(shape))
        layer.bias.mul_(scale[0, 0])
    if shift is not None:
        layer.bias.add_(shift[0, 0])
