"""Run the encoders and decoders of K models as one by `torch.vmap`, if that is exact.

A network can be stacked if it computes the same in a stack as alone. `incompatibility` tests this
on a small batch: it compares outputs and gradients, and looks for changes of buffers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from types import MethodType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from vaebalance.base.seeds import forked
from vaebalance.training.graph_steps import reason_of
from vaebalance.vae.model import VAE
from vaebalance.vae.networks import widened

Weights = Mapping[str, Tensor]
"""Parameters by name, [K, ...] each."""
Part = Literal["encoder", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "decoder")


class StackedNetworks:
    """The encoders and decoders of K models, called with stacked weights."""

    def __init__(self, models: Sequence[VAE]) -> None:
        """Copy the first model's networks, which serve all models.

        A call may set attributes of a network, so the model's own networks are not used. A deep
        copy preserves tied weights.
        """
        first = models[0]
        self._base = copy.deepcopy(nn.ModuleDict({part: _network(first, part) for part in PARTS}))
        self._base.train(first.training)
        for module in self._base.modules():
            if type(module) is nn.Linear:
                module.__dict__["forward"] = MethodType(_linear, module)
        self._names = {part: _parameter_names(first, part) for part in PARTS}
        self._buffers = {part: _differing_buffers(models, part) for part in PARTS}
        self._places = {
            part: [_place(self._base[part], name) for name in (*self._names[part], *buffers)]
            for part, buffers in self._buffers.items()
        }

    def train(self, mode: bool) -> None:
        """Set training or evaluation mode."""
        if self._base.training != mode:
            self._base.train(mode)

    def keep(self, slots: Sequence[int]) -> None:
        """Remove all other models."""
        self._buffers = {
            part: {name: stacked[list(slots)] for name, stacked in buffers.items()}
            for part, buffers in self._buffers.items()
        }

    def encode(self, weights: Weights, slots: slice, x: Tensor, *, in_bf16: bool) -> Tensor:
        """Compute the features [K, B, features] of the models in `slots`.

        Args:
            weights: weights of the models in `slots`.
            slots: models to compute.
            x: pixels [K, B, C, H, W], or [1, B, C, H, W] for all models.
            in_bf16: whether to run the networks in bf16.
        """
        return self._call("encoder", weights, slots, x, in_bf16)

    def decode(self, weights: Weights, slots: slice, z: Tensor, *, in_bf16: bool) -> Tensor:
        """Compute the raw outputs [K, B, channels, H, W] for codes z [K, B, Z]; see `encode`."""
        return self._call("decoder", weights, slots, z, in_bf16)

    def _call(
        self, part: Part, weights: Weights, slots: slice, inputs: Tensor, in_bf16: bool
    ) -> Tensor:
        network, places = self._base[part], self._places[part]
        tensors = [weights[name] for name in self._names[part].values()]
        tensors += [stacked[slots] for stacked in self._buffers[part].values()]

        def call(inputs: Tensor, *tensors: Tensor) -> Tensor:
            with _replaced(places, tensors), _Bf16() if in_bf16 else nullcontext():
                output: Tensor = network(inputs)
            return output

        is_shared = inputs.shape[0] == 1
        in_dims = (None if is_shared else 0, *[0] * len(tensors))
        with nullcontext() if network.training else _without_fast_path():
            return widened(torch.vmap(call, in_dims)(inputs[0] if is_shared else inputs, *tensors))


def _network(model: VAE, part: Part) -> nn.Module:
    network: nn.Module = getattr(model, part)
    return network


def _parameter_names(model: VAE, part: Part) -> dict[str, str]:
    """Map a network's own parameter names to the model's; tied weights map to one name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = _network(model, part).named_parameters(remove_duplicate=False)
    return {local: names[id(parameter)] for local, parameter in parameters}


def _differing_buffers(models: Sequence[VAE], part: Part) -> dict[str, Tensor]:
    """Stack the buffers that are not the same in all models: [K, ...] each."""
    buffers = [dict(_network(m, part).named_buffers(remove_duplicate=False)) for m in models]
    return {
        name: torch.stack([tensors[name] for tensors in buffers])
        for name, first in buffers[0].items()
        if not all(torch.equal(tensors[name], first) for tensors in buffers)
    }


_Place = tuple[dict[str, Any], str]
"""Where a module keeps a tensor: a dictionary and the key."""


def _place(network: nn.Module, name: str) -> _Place:
    path, _, key = name.rpartition(".")
    module = network.get_submodule(path)
    return (module._parameters if key in module._parameters else module._buffers), key


@contextmanager
def _replaced(places: Sequence[_Place], tensors: Sequence[Tensor]) -> Iterator[None]:
    """Replace the tensors within the block, as `functional_call` does without its checks."""
    before = [tensors_of[key] for tensors_of, key in places]
    try:
        for (tensors_of, key), tensor in zip(places, tensors, strict=True):
            tensors_of[key] = tensor
        yield
    finally:
        for (tensors_of, key), tensor in zip(places, before, strict=True):
            tensors_of[key] = tensor


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Disable the fast path of transformer layers, which has no derivative.

    Layers take it in evaluation mode if no weight needs a gradient. Within vmap no weight appears
    to need one.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _linear(layer: nn.Linear, input: Tensor) -> Tensor:
    """Compute (W·hᵀ)ᵀ, so that the gradients of stacked weights have the strides of the weights.

    vmap's own rule takes up to 1.6 times as long.
    """
    if input.ndim != 2:
        return functional.linear(input, layer.weight, layer.bias)
    output = torch.mm(layer.weight, input.t())
    bias = layer.bias
    if bias is not None:
        output.add_((bias if bias.dtype == output.dtype else bias.to(output.dtype)).unsqueeze(1))
    return output.t()


IN_BF16: frozenset[Callable[..., Any]] = frozenset(
    [
        functional.linear,
        functional.bilinear,
        *(functional.conv1d, functional.conv2d, functional.conv3d),
        *(functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d),
        *(functional.scaled_dot_product_attention, functional.multi_head_attention_forward),
        *(torch.matmul, torch.mm, torch.bmm, torch.mv, torch.einsum),
        *(torch.addmm, torch.baddbmm, torch.addbmm, torch.addmv),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm, Tensor.mv),
        *(Tensor.addmm, Tensor.baddbmm, Tensor.addbmm, Tensor.addmv),
    ]
)
"""Functions whose arguments autocast would cast to bf16."""
IN_FLOAT32: frozenset[Callable[..., Any]] = frozenset(
    [
        *(functional.layer_norm, functional.group_norm, functional.instance_norm),
        *(functional.rms_norm, functional.normalize, functional.prelu),
        *(functional.softmax, functional.log_softmax),
        *(torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax),
    ]
)
"""Functions that need arguments of one type, or float32 for accuracy."""


class _Bf16(TorchFunctionMode):
    """Casts as autocast does, which vmap ignores."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        arguments = (args, kwargs or {})
        if func in IN_BF16 or func in IN_FLOAT32:
            dtype = torch.bfloat16 if func in IN_BF16 else torch.float32
            arguments = pytree.tree_map_only(Tensor, lambda t: _cast(t, dtype), arguments)
        return func(*arguments[0], **arguments[1])


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.dtype in (torch.float32, torch.bfloat16) else tensor


def incompatibility(models: Sequence[VAE], *, in_bf16: bool) -> str | None:
    """Return why the models' networks cannot be stacked; None: they can.

    Args:
        models: models to test; they are not changed.
        in_bf16: whether they are trained in bf16.
    """
    for model in models:
        if why := _difference(models[0], model):
            return why
    try:
        copies = [copy.deepcopy(model) for model in models]
    except (RuntimeError, TypeError) as error:
        return f"their networks cannot be copied ({reason_of(error)})"
    is_enabled = torch.backends.cudnn.enabled
    with forked(0), torch.backends.cudnn.flags(enabled=is_enabled, allow_tf32=False):
        for model in copies:
            _perturb(model)
        return _unsteadiness(copies) or _disagreement(copies, in_bf16)


def _difference(one: VAE, other: VAE) -> str | None:
    """Return what differs in the structure of two models."""
    if _layout(one) != _layout(other):
        return "their models differ in shape"
    storages = [p.untyped_storage().data_ptr() for p in other.parameters()]
    if len(set(storages)) < len(storages):
        return "two of their parameters share memory without being the same parameter"
    for (name, module), (_, twin) in zip(_modules(one), _modules(other), strict=True):
        constants, others = _constants(module), _constants(twin)
        for key in constants.keys() | others.keys():
            if constants.get(key) != others.get(key):
                values = f"{constants.get(key)!r} and {others.get(key)!r}"
                return f"their networks differ in {name}.{key}: {values}"
    return None


def _layout(model: VAE) -> tuple[Any, ...]:
    """List the modules and tensors of a model, without their values."""
    tensors = chain(model.named_parameters(), model.named_buffers())
    return (
        model.spec,
        model.image_shape,
        [(name, t.shape, t.dtype, t.requires_grad) for name, t in tensors],
        [(name, type(module).__qualname__) for name, module in _modules(model)],
        [_parameter_names(model, part) for part in PARTS],
    )


def _modules(model: VAE) -> list[tuple[str, nn.Module]]:
    return [
        (".".join(filter(None, (part, name))), module)
        for part in PARTS
        for name, module in _network(model, part).named_modules(remove_duplicate=False)
    ]


def _constants(module: nn.Module) -> dict[str, Any]:
    """Collect a module's constants, such as a slope, a dropout rate or a stride."""

    def is_constant(value: Any) -> bool:
        if isinstance(value, tuple | list):
            return all(map(is_constant, value))
        return isinstance(value, int | float | str)

    return {key: value for key, value in vars(module).items() if is_constant(value)}


@torch.no_grad()
def _perturb(model: VAE) -> None:
    """Change the weights, since those that are equal or zero would hide a difference."""
    for parameter in model.parameters():
        noise = [torch.randn(parameter.shape).to(parameter) for _ in range(2)]
        parameter.mul_(1 + 0.1 * noise[0]).add_(0.01 * noise[1])


class _Probe(NamedTuple):
    """The way in which to call a stack's networks."""

    training: bool
    is_shared: bool  # one batch for all models
    in_bf16: bool = False
    has_gradients: bool = True

    @property
    def tolerance(self) -> float:
        """Largest relative difference due to rounding."""
        return 0.1 if self.in_bf16 else 1e-4


IMAGES = 3
"""Number of images in a probe batch."""
OUTPUTS = 2
"""Number of tensors that `_outputs` computes."""
PROBES = (
    _Probe(training=True, is_shared=True),
    _Probe(training=True, is_shared=False),
    _Probe(training=False, is_shared=False),
    _Probe(training=False, is_shared=True, has_gradients=False),
)
BF16_PROBE = _Probe(training=True, is_shared=True, in_bf16=True, has_gradients=False)
"""(Rounding to bf16 may switch a ReLU, which changes gradients by any amount.)"""


def _unsteadiness(models: Sequence[VAE]) -> str | None:
    """Return what networks change or draw when called, which a stack would lose; None: nothing."""
    x = torch.rand(IMAGES, *models[0].image_shape).to(models[0].prior_mean)
    for model in models:
        model.train()
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        constants = [_constants(module) for _, module in _modules(model)]
        first, second = (_outputs(model, x) for _ in range(2))
        for name, buffer in model.named_buffers():
            if not torch.equal(buffer, buffers[name]):
                return f"their networks change {name} in training, as batch normalization does"
        if [_constants(module) for _, module in _modules(model)] != constants:
            return "their networks change their own attributes in training"
        if not _agree(first, second, 1e-5):
            return "their networks draw random numbers, as dropout does"
    return None


def _outputs(model: VAE, x: Tensor) -> list[Tensor]:
    """Compute [features, raw] with the posterior's mean as the code."""
    features = model.features(x)
    return [features, widened(model.decoder(features[..., : model.latent_size]))]


def _disagreement(models: Sequence[VAE], in_bf16: bool) -> str | None:
    """Compare the stacked networks with each network alone."""
    for probe in (*PROBES, *([BF16_PROBE] if in_bf16 else [])):
        x = torch.rand(1 if probe.is_shared else len(models), IMAGES, *models[0].image_shape)
        x = x.to(models[0].prior_mean)
        for model in models:
            model.train(probe.training)
        with torch.set_grad_enabled(probe.has_gradients):
            batches = x.expand(len(models), *x.shape[1:])
            alone = [_alone(m, batch, probe) for m, batch in zip(models, batches, strict=True)]
            try:
                stacked = _stacked(models, x, probe)
            except Exception as error:  # whatever a network raises under vmap is the reason
                return f"their networks cannot be run as one ({reason_of(error)})"
        for slot, expected in enumerate(alone):
            tensors = [tensor[slot] for tensor in stacked]
            if not (
                _agree(tensors[:OUTPUTS], expected[:OUTPUTS], probe.tolerance)
                and _agree(tensors[OUTPUTS:], expected[OUTPUTS:], probe.tolerance)
            ):
                return "their networks give other outputs or gradients when they are run as one"
    return None


def _alone(model: VAE, x: Tensor, probe: _Probe) -> list[Tensor]:
    """Compute the outputs of one model, and the gradients of their weighted sum."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=probe.in_bf16):
        outputs = _outputs(model, x)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [*outputs, *(_gradients(outputs, weights) if probe.has_gradients else [])]


def _stacked(models: Sequence[VAE], x: Tensor, probe: _Probe) -> list[Tensor]:
    """Compute the same for all models as one, [K, ...] each."""
    parameters = [dict(model.named_parameters()) for model in models]
    weights = {
        name: torch.stack([w[name].detach() for w in parameters]).requires_grad_(
            parameter.requires_grad
        )
        for name, parameter in parameters[0].items()
    }
    networks, all_of_them = StackedNetworks(models), slice(None)
    features = networks.encode(weights, all_of_them, x, in_bf16=probe.in_bf16)
    codes = features[..., : models[0].latent_size]
    outputs = [features, networks.decode(weights, all_of_them, codes, in_bf16=probe.in_bf16)]
    trained = [weight for weight in weights.values() if weight.requires_grad]
    return [*outputs, *(_gradients(outputs, trained) if probe.has_gradients else [])]


def _gradients(outputs: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    loss = sum(((output + 1).square().sum() for output in outputs), torch.zeros(()))
    return list(torch.autograd.grad(loss, weights, materialize_grads=True))


@torch.no_grad()
def _agree(tensors: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> bool:
    """Return whether the tensors differ by rounding only.

    For a tensor that is nearly zero the scale is that of all tensors.
    """
    total = math.hypot(*(float(tensor.norm()) for tensor in expected))
    bounds = [tolerance * (float(tensor.norm()) + 0.1 * total) for tensor in expected]
    return all(
        float((tensor - other).norm()) <= bound
        for tensor, other, bound in zip(tensors, expected, bounds, strict=True)
    )
