"""Stack the weights of K models of one shape, [K, ...] each, with one Adam step for all.

Most of a small model's step is the overhead of calling operations; a stack calls each operation
once for all K models. Each learner's weights and moments become views into the stacked ones. A
learner is therefore always up to date: it can be measured, saved and trained further by itself.

The networks may have any architecture that passes `incompatibility`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.optim.adam import adam

from vaebalance.stacking.stacked_networks import StackedNetworks, Weights
from vaebalance.stacking.stacked_networks import incompatibility as incompatibility_of_networks
from vaebalance.training.precision import bf16_terms
from vaebalance.training.step import Learner
from vaebalance.vae.elbo import ElboTerms, rate_by_latent

LIKELIHOOD = "likelihood_parameters."
OTHER_ADAMS = ("amsgrad", "maximize", "decoupled_weight_decay")
"""Options of torch's Adam that `Stack` does not support."""
AVERAGE, SQUARES = MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch.optim.Adam names them


def incompatibility(learners: Sequence[Learner]) -> str | None:
    """Return why the learners cannot be stacked; None: they can."""
    first = learners[0]
    for learner in learners:
        if type(learner.model.likelihood) is not type(first.model.likelihood):
            return "their likelihoods differ in kind"
        if learner.terms is not first.terms:
            return "their precisions differ"
        if learner.penalty.draws:
            return "their penalty draws random numbers of its own"
        if not _is_plain_adam(learner.optimizer):
            return "their optimizer is not Adam, or has several groups or one of " + (
                ", ".join(OTHER_ADAMS)
            )
    models = [learner.model for learner in learners]
    return incompatibility_of_networks(models, in_bf16=first.terms is bf16_terms)


def _is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    groups = optimizer.param_groups
    is_adam = isinstance(optimizer, torch.optim.Adam) and len(groups) == 1
    return is_adam and not any(groups[0].get(name) for name in OTHER_ADAMS)


@dataclass(frozen=True)
class StackedTerms:
    """The terms of K models for a batch."""

    terms: ElboTerms  # [K, B]; has p(x|z) only if one likelihood serves all K models
    features: Tensor  # [K, B, features]
    raw: Tensor  # [K, B, channels, H, W]

    def of(self, slot: int, learner: Learner) -> ElboTerms:
        """Return the terms of the learner in `slot`, with all that balance and penalty read."""
        terms = self.terms
        assert terms.x is not None  # `Stack.terms` sets both
        assert terms.z is not None
        return ElboTerms(
            terms.distortion[slot],
            terms.rate_by_latent[slot],
            learner.model.read(self.raw[slot].detach()),
            terms.x[slot],
            learner.model.posterior(self.features[slot]),
            terms.z[slot],
        )


@dataclass(frozen=True)
class _Run:
    """Adjacent learners with the same optimizer settings, updated by one call of Adam."""

    slots: slice
    group: Mapping[str, Any]  # settings of their optimizers
    weights: list[Tensor]
    moments: tuple[list[Tensor], list[Tensor]]
    steps: list[Tensor]


class Stack:
    """Learners that pass `incompatibility`.

    Learners with the same learning rate should be adjacent, since one call updates them.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        """Stack the learners' weights and their optimizers' state.

        All learners must have taken the same number of steps.
        """
        self._networks = StackedNetworks([learner.model for learner in learners])
        self._put(learners)

    def _put(self, learners: Sequence[Learner]) -> None:
        self.learners = list(learners)
        parameters = [dict(learner.model.named_parameters()) for learner in learners]
        self.weights: dict[str, Tensor] = {
            name: torch.stack([p[name].data for p in parameters]).requires_grad_(
                first.requires_grad
            )
            for name, first in parameters[0].items()
        }
        self._trained = {name: w for name, w in self.weights.items() if w.requires_grad}
        moments: dict[str, dict[str, Tensor]] = {}
        for moment in MOMENTS:
            moments[moment] = {
                name: torch.stack(
                    [
                        _moment(learner, weights[name], moment)
                        for learner, weights in zip(learners, parameters, strict=True)
                    ]
                )
                for name in self._trained
            }
        self._runs = []
        start = 0
        for _, neighbours in groupby(learners, _options):
            slots = slice(start, start + len(list(neighbours)))
            self._runs.append(self._run(slots, parameters[start], moments))
            start = slots.stop
        for run in self._runs:
            for slot in range(run.slots.start, run.slots.stop):
                self._give_views(slot, parameters[slot], moments, run.steps)
        self._is_alike = self._one_likelihood()

    def _run(
        self, slots: slice, parameters: Weights, moments: Mapping[str, Mapping[str, Tensor]]
    ) -> _Run:
        learner = self.learners[slots.start]
        known = learner.optimizer.state
        fused = _group(learner)["fused"]
        device = learner.device if fused else torch.device("cpu")
        steps = [
            known[p]["step"].clone() if p in known else torch.zeros((), device=device)
            for p in (parameters[name] for name in self._trained)
        ]
        return _Run(
            slots,
            _group(learner),
            [w.data[slots] for w in self._trained.values()],
            (
                [m[slots] for m in moments[AVERAGE].values()],
                [m[slots] for m in moments[SQUARES].values()],
            ),
            steps,
        )

    def _give_views(
        self,
        slot: int,
        parameters: Weights,
        moments: Mapping[str, Mapping[str, Tensor]],
        steps: Sequence[Tensor],
    ) -> None:
        """Make a learner's parameters and optimizer state views of its slot."""
        state = self.learners[slot].optimizer.state
        for name, parameter in parameters.items():
            parameter.data = self.weights[name].data[slot]
        for name, step in zip(self._trained, steps, strict=True):
            views = {moment: moments[moment][name][slot] for moment in MOMENTS}
            state[parameters[name]] = {"step": step, **views}

    def keep(self, slots: Sequence[int]) -> None:
        """Remove the learners in all other slots; they keep their current state."""
        for slot, learner in enumerate(self.learners):
            if slot not in slots:
                _release(learner)
        if slots:
            self._networks.keep(slots)
            self._put([self.learners[slot] for slot in slots])
        else:
            self.learners = []

    def part(self, slots: slice) -> Weights:
        """Return the weights of the models in `slots`."""
        return {name: weight[slots] for name, weight in self.weights.items()}

    def terms(
        self,
        x: Tensor,
        noise: Tensor,
        weights: Weights | None = None,
        slots: slice = slice(None),
        *,
        in_bf16: bool = False,
    ) -> StackedTerms:
        """Compute the terms of a batch, as `elbo_terms` does.

        Args:
            x: [K, B, C, H, W] in [0, 1], or [1, B, ...] for all models.
            noise: noise of the posterior samples, [K, B, Z], or [1, B, Z] for all models.
            weights: weights of the models in `slots`; None: `self.weights`.
            slots: models to compute.
            in_bf16: whether the networks run in bf16, as in `precision.bf16_terms`.
        """
        weights = self.weights if weights is None else weights
        learners = self.learners[slots]
        model = learners[0].model
        self._networks.train(model.training)
        features = self._networks.encode(weights, slots, x, in_bf16=in_bf16)
        posterior = model.posterior(features)
        base = posterior.base_dist
        z = base.loc + noise * base.scale if isinstance(base, Normal) else posterior.mean
        raw = self._networks.decode(weights, slots, z, in_bf16=in_bf16)
        x = x.expand(len(learners), *x.shape[1:])
        likelihood = model.read(raw) if self._is_alike else None
        if likelihood is not None:
            distortion = -likelihood.log_prob(x)
        else:
            distortion = _distortions(learners, weights, raw, x)
        rates = rate_by_latent(posterior, model.prior)
        terms = ElboTerms(distortion, rates, likelihood, x, posterior, z)
        return StackedTerms(terms, features, raw)

    def step(self, loss: Tensor, clips: Tensor | None, rate: Tensor | None = None) -> None:
        """Take an Adam step for all learners.

        Args:
            loss: sum [] of the learners' losses, each of which depends on its own weights only.
            clips: largest norm of each learner's gradient, [K]; None: no clipping.
            rate: the learning rate [] of all; None: that of each learner's optimizer.
        """
        weights = list(self._trained.values())
        gradients = [
            gradient.contiguous()  # Adam's kernel ignores strides
            for gradient in torch.autograd.grad(loss, weights, materialize_grads=True)
        ]
        if clips is not None:
            norms = gradient_norms(gradients)
            factors = (clips / (norms + 1e-6)).clamp(max=1.0)  # as clip_grad_norm_ does
            for gradient in gradients:
                gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
        with torch.no_grad():
            for run in self._runs:
                _adam(run, gradients, rate)

    def _one_likelihood(self) -> bool:
        """Return whether all models have the same likelihood and it has no parameters."""
        first = self.learners[0].model
        alike = all(learner.model.likelihood == first.likelihood for learner in self.learners)
        return alike and not first.likelihood_parameters.state_dict()


def gradient_norms(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of each learner's gradient over all weights: gradients [K, ...] -> [K]."""
    norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total


def _distortions(learners: Sequence[Learner], weights: Weights, raw: Tensor, x: Tensor) -> Tensor:
    """Compute D [K, B], nats per example, by the likelihood of each learner."""
    distortions = []
    for slot, learner in enumerate(learners):
        parameters = _Parameters(learner, slot, weights)
        likelihood = learner.model.likelihood.distribution(raw[slot], parameters)
        distortions.append(-likelihood.log_prob(x[slot]))
    return torch.stack(distortions)


class _Parameters(nn.Module):
    """The parameters of one slot's likelihood, as its module has them."""

    def __init__(self, learner: Learner, slot: int, weights: Weights) -> None:
        super().__init__()
        self._module = [learner.model.likelihood_parameters]  # a list: it is no submodule
        self._slot, self._weights = slot, weights
        self.training = self._module[0].training

    def get_parameter(self, target: str) -> nn.Parameter:
        """Return the slot's slice of the stacked parameter, with its graph."""
        return self._weights[LIKELIHOOD + target][self._slot]  # type: ignore[return-value]

    def get_buffer(self, target: str) -> Tensor:
        """Return the learner's buffer, since buffers are not stacked."""
        return self._module[0].get_buffer(target)


def _group(learner: Learner) -> dict[str, Any]:
    (group,) = learner.optimizer.param_groups
    return group


def _options(learner: Learner) -> dict[str, Any]:
    """Return the options of a learner's optimizer, such as the learning rate."""
    return {name: value for name, value in _group(learner).items() if name != "params"}


def _moment(learner: Learner, parameter: Tensor, name: str) -> Tensor:
    state = learner.optimizer.state
    moment: Tensor = state[parameter][name] if parameter in state else torch.zeros_like(parameter)
    return moment.detach()


def _release(learner: Learner) -> None:
    """Give a learner its own copies, so that it does not keep the stacked tensors in memory."""
    for parameter in learner.model.parameters():
        parameter.data = parameter.data.clone()
        state = learner.optimizer.state.get(parameter, {})
        state.update({name: value.clone() for name, value in state.items()})


def _adam(run: _Run, gradients: Sequence[Tensor], rate: Tensor | None) -> None:
    group = run.group
    adam(
        run.weights,
        [gradient[run.slots] for gradient in gradients],
        *run.moments,
        [],  # largest squares, only for amsgrad
        run.steps,
        fused=group["fused"],
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"] if rate is None else rate,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
