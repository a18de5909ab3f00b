"""The weights of K models of one shape as one model's, [K, ...] each, and one Adam step for all.

A small model's step waits for its operations to be called, and these are called once for all K.
Each learner's own weights and moments become views into the stacked ones, so that it is at any time
what it would be alone: it can be measured, saved, and trained further by itself.

Networks are those of any architecture that `incompatibility` finds nothing against.
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
"""Options of torch's Adam that `Stack` does not know."""
AVERAGE, SQUARES = MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch.optim.Adam names them


def incompatibility(learners: Sequence[Learner]) -> str | None:
    """Say why the learners cannot be stacked; None: they can."""
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
    """The terms of a batch, of K models."""

    terms: ElboTerms  # [K, B]; its p(x|z) only where one likelihood serves all K
    features: Tensor  # [K, B, features]
    raw: Tensor  # [K, B, channels, H, W]

    def of(self, slot: int, learner: Learner) -> ElboTerms:
        """Those of the learner in a slot, with all that a balance or a penalty looks at."""
        terms = self.terms
        assert terms.x is not None  # `Stack.terms` gives both
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
    """Neighbours with one learning rate: one call of Adam."""

    slots: slice
    group: Mapping[str, Any]  # of their optimizers' settings
    weights: list[Tensor]
    moments: tuple[list[Tensor], list[Tensor]]
    steps: list[Tensor]


class Stack:
    """Learners that `incompatibility` finds nothing against.

    Those with one learning rate should be neighbours.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        """Put them together, with what their optimizers remember.

        They must have taken as many steps as each other.
        """
        self._networks = StackedNetworks([learner.model for learner in learners])
        self._put(learners)

    def _put(self, learners: Sequence[Learner]) -> None:
        self.learners = list(learners)
        own = [dict(learner.model.named_parameters()) for learner in learners]
        self.weights: dict[str, Tensor] = {
            name: torch.stack([p[name].data for p in own]).requires_grad_(first.requires_grad)
            for name, first in own[0].items()
        }
        self._trained = {name: w for name, w in self.weights.items() if w.requires_grad}
        moments: dict[str, dict[str, Tensor]] = {}
        for moment in MOMENTS:
            moments[moment] = {
                name: torch.stack(
                    [_moment(a, w[name], moment) for a, w in zip(learners, own, strict=True)]
                )
                for name in self._trained
            }
        self._runs = []
        start = 0
        for _, neighbours in groupby(learners, _options):
            slots = slice(start, start + len(list(neighbours)))
            self._runs.append(self._run(slots, own[start], moments))
            start = slots.stop
        for run in self._runs:
            for slot in range(run.slots.start, run.slots.stop):
                self._give_views(slot, own[slot], moments, run.steps)
        self._is_alike = self._one_likelihood()

    def _run(self, slots: slice, own: Weights, moments: Mapping[str, Mapping[str, Tensor]]) -> _Run:
        learner = self.learners[slots.start]
        known = learner.optimizer.state
        fused = _group(learner)["fused"]
        device = learner.device if fused else torch.device("cpu")
        steps = [
            known[p]["step"].clone() if p in known else torch.zeros((), device=device)
            for p in (own[name] for name in self._trained)
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
        own: Weights,
        moments: Mapping[str, Mapping[str, Tensor]],
        steps: Sequence[Tensor],
    ) -> None:
        """Let a learner see what becomes of its slot."""
        state = self.learners[slot].optimizer.state
        for name, parameter in own.items():
            parameter.data = self.weights[name].data[slot]
        for name, step in zip(self._trained, steps, strict=True):
            views = {moment: moments[moment][name][slot] for moment in MOMENTS}
            state[own[name]] = {"step": step, **views}

    def keep(self, slots: Sequence[int]) -> None:
        """Let go of all others, which keep what they have come to."""
        for slot, learner in enumerate(self.learners):
            if slot not in slots:
                _release(learner)
        if slots:
            self._networks.keep(slots)
            self._put([self.learners[slot] for slot in slots])
        else:
            self.learners = []

    def part(self, slots: slice) -> Weights:
        """The weights of some slots."""
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
        """D and R of a batch, as `elbo_terms` has them.

        Args:
            x: [K, B, C, H, W] in [0, 1], or [1, B, ...] for all.
            noise: [K, B, Z] of the posterior's samples, or [1, B, Z] for all.
            weights: of these slots; None: those of all.
            slots: whose terms are wanted.
            in_bf16: whether the networks multiply in bf16, as `arithmetic.bf16_terms`.
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
        """One update by the gradient of a loss [], the sum of the learners' own.

        Args:
            loss: of which each part depends on its own learner's weights alone.
            clips: largest norm of each learner's gradient, [K]; None: no clipping.
            rate: the learning rate [] of all; None: each its optimizer's.
        """
        weights = list(self._trained.values())
        found = torch.autograd.grad(loss, weights, materialize_grads=True)
        gradients = [gradient.contiguous() for gradient in found]  # as Adam's kernel reads them
        if clips is not None:
            norms = gradient_norms(gradients)
            factors = (clips / (norms + 1e-6)).clamp(max=1.0)  # as clip_grad_norm_
            for gradient in gradients:
                gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
        with torch.no_grad():
            for run in self._runs:
                _adam(run, gradients, rate)

    def _one_likelihood(self) -> bool:
        """Whether one likelihood without weights of its own serves all."""
        first = self.learners[0].model
        alike = all(learner.model.likelihood == first.likelihood for learner in self.learners)
        return alike and not first.likelihood_parameters.state_dict()


def gradient_norms(gradients: Sequence[Tensor]) -> Tensor:
    """Of each of K learners over all its weights: gradients [K, ...] -> [K]."""
    norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total


def _distortions(learners: Sequence[Learner], weights: Weights, raw: Tensor, x: Tensor) -> Tensor:
    """[K, B] nats, by each learner's own likelihood."""
    found = []
    for slot, learner in enumerate(learners):
        own = _Parameters(learner, slot, weights)
        likelihood = learner.model.likelihood.distribution(raw[slot], own)
        found.append(-likelihood.log_prob(x[slot]))
    return torch.stack(found)


class _Parameters(nn.Module):
    """A likelihood's own parameters, those of one slot."""

    def __init__(self, learner: Learner, slot: int, weights: Weights) -> None:
        super().__init__()
        self._own = [learner.model.likelihood_parameters]  # in a list: not a part of this module
        self._slot, self._weights = slot, weights
        self.training = self._own[0].training

    def get_parameter(self, target: str) -> nn.Parameter:
        """The slice of the stacked one, with its graph."""
        return self._weights[LIKELIHOOD + target][self._slot]  # type: ignore[return-value]

    def get_buffer(self, target: str) -> Tensor:
        """The learner's own, which is not stacked."""
        return self._own[0].get_buffer(target)


def _group(learner: Learner) -> dict[str, Any]:
    (group,) = learner.optimizer.param_groups
    return group


def _options(learner: Learner) -> dict[str, Any]:
    """Of its optimizer: the learning rate and others."""
    return {name: value for name, value in _group(learner).items() if name != "params"}


def _moment(learner: Learner, parameter: Tensor, name: str) -> Tensor:
    state = learner.optimizer.state
    found: Tensor = state[parameter][name] if parameter in state else torch.zeros_like(parameter)
    return found.detach()


def _release(learner: Learner) -> None:
    """Give a learner tensors of its own, so that it holds no others' in memory."""
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
        [],  # largest squares, which amsgrad would keep
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
