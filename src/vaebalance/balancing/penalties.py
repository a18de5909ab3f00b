"""Rate terms beside the plain KL: what a latent space is charged for on top of α·D + β·R.

A penalty measures named components of a batch's codes and says what each of them costs; every
component is logged by itself, also those that cost nothing. A new penalty is one class here and its
name in `Penalty`.

Components are means over a batch. Some depend on its size (each class says how), so that training
and validation measure them on batches of the same size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution, Independent

from vaebalance.base.specs import Spec

Components = dict[str, Tensor]  # name -> []


class Codes(NamedTuple):
    """What a penalty may know of a batch."""

    posterior: Independent[Distribution]  # q(z|x), batch [B], event [Z]
    z: Tensor  # [B, Z], a sample of it
    prior: Independent[Distribution]  # p(z), event [Z]
    images: int  # N, of the set that the batch was drawn from


class AbstractPenalty(Spec, ABC):
    """A charge on q(z|x) of a batch."""

    draws: ClassVar[bool] = False
    """Whether measuring draws random numbers of its own."""

    @abstractmethod
    def measure(self, codes: Codes) -> Components:
        """The components, [] each."""

    @abstractmethod
    def coefficients(self) -> Mapping[str, float]:
        """What each component costs: name -> its weight in the loss."""

    def weighted(self, components: Components) -> Tensor | float:
        """What is added to α·D + β·R, []."""
        costs = self.coefficients()
        return sum((costs[name] * value for name, value in components.items()), start=0.0)

    def misfit(self, posterior: str) -> str | None:
        """Why it cannot charge codes of this `model.posterior`, and what can; None: it can."""
        return None


class NoPenalty(AbstractPenalty):
    """The rate alone."""

    kind: Literal["none"] = "none"

    def measure(self, codes: Codes) -> Components:
        """No components."""
        return {}

    def coefficients(self) -> Mapping[str, float]:
        """No costs."""
        return {}


class TotalCorrelation(AbstractPenalty):
    """The rate's three parts, of which the latents' dependence costs more (Chen et al. 2018).

        E[R] = I_q(x; z) + KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j))

    β-TCVAE's loss with its β is `balance.beta` = 1 and `weight` = β − 1. The parts are estimated by
    log q(z) from the batch, and so depend on its size B. All in nats.
    """

    kind: Literal["total_correlation"] = "total_correlation"
    weight: float = Field(gt=0)
    """Of the total correlation, on top of the β that it bears as a part of the rate."""
    estimator: Literal["stratified", "minibatch_weighted"] = "stratified"
    """stratified: q̂(z) is unbiased, whatever B. minibatch_weighted: too low, by a factor from B,
    where posteriors do not overlap, to N, where all are alike; this is the published estimate."""

    def measure(self, codes: Codes) -> Components:
        """index_code_mi, total_correlation, dimension_wise_kl."""
        posterior, z, prior, images = codes
        by_latent = posterior.base_dist.log_prob(z[:, None])  # [B, B, Z]: log q(z_ij | x_m)
        log_weights = self.log_weights(len(z), images, z.device)
        log_aggregate = torch.logsumexp(by_latent.sum(-1) + log_weights, 1)  # [B]
        log_marginals = torch.logsumexp(by_latent + log_weights[..., None], 1)  # [B, Z]
        log_product = log_marginals.sum(-1)
        return {
            "index_code_mi": (posterior.log_prob(z) - log_aggregate).mean(),
            "total_correlation": (log_aggregate - log_product).mean(),
            "dimension_wise_kl": (log_product - prior.log_prob(z)).mean(),
        }

    def coefficients(self) -> Mapping[str, float]:
        """The total correlation alone costs."""
        return {
            "index_code_mi": 0.0,
            "total_correlation": self.weight,
            "dimension_wise_kl": 0.0,
        }

    def log_weights(self, batch: int, images: int, device: torch.device | None = None) -> Tensor:
        """Log of w_im in q̂(z_i) = Σ_m w_im q(z_i|x_m): [B, B].

        minibatch_weighted: 1/(BN). stratified: 1/N for the image itself, the rest of 1 for the
        others alike. (As published one of the others, the last, has a weight of its own; this is
        the mean over which of them is the last: unbiased too, and with less variance.)
        """
        if self.estimator == "minibatch_weighted":
            return torch.full((batch, batch), -math.log(batch * images), device=device)
        if batch == 1:
            return torch.zeros(1, 1, device=device)
        others = (images - 1) / (images * (batch - 1))
        weights = torch.full((batch, batch), others, device=device).fill_diagonal_(1 / images)
        return weights.log()

    def misfit(self, posterior: str) -> str | None:
        """A code without a density has no q(z)."""
        if posterior == "gaussian":
            return None
        return (
            f"penalty.kind = 'total_correlation' needs densities q(z|x), and model.posterior = "
            f"{posterior!r} has none; use penalty {{kind: mmd, weight: …}}, or posterior: gaussian"
        )


class DipVae(AbstractPenalty):
    """The aggregate posterior's covariance C against the identity (Kumar et al. 2018).

    weight·Σ_{i≠j} C_ij² + diagonal·Σ_i (C_ii − 1)²; i: C = Cov_x(E[z|x]); ii: C = Cov_q(z),
    which adds E_x[Var[z|x]]. No nats. Over B images C has a relative error of about √(2/B).
    """

    kind: Literal["dip_vae"] = "dip_vae"
    weight: float = Field(gt=0)
    """λ_od, of the squared covariances."""
    variant: Literal["i", "ii"] = "i"
    """i: of posterior means; ii: of the aggregate posterior."""
    diagonal: float | None = Field(default=None, ge=0)
    """λ_d, of the variances' squared distance from 1; null: 10·weight for i, weight for ii."""

    def measure(self, codes: Codes) -> Components:
        """covariance: Σ_{i≠j} C_ij²; variance: Σ_i (C_ii − 1)²."""
        mean = codes.posterior.mean
        centred = mean - mean.mean(0)
        covariance = centred.T @ centred / len(centred)  # [Z, Z]
        variances = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variances.square().sum()
        if self.variant == "ii":
            variances = variances + codes.posterior.variance.mean(0)
        return {"covariance": off_diagonal, "variance": (variances - 1).square().sum()}

    def coefficients(self) -> Mapping[str, float]:
        """λ_od and λ_d."""
        default = 10 * self.weight if self.variant == "i" else self.weight
        return {
            "covariance": self.weight,
            "variance": default if self.diagonal is None else self.diagonal,
        }


class Mmd(AbstractPenalty):
    """Maximum mean discrepancy of aggregate posterior and prior (InfoVAE, Zhao et al. 2017).

    The U-statistic, which is about 0, and may be below, where the two are alike; its noise falls
    as 1/B. Kernel Σ_s s·C/(s·C + ‖z − z'‖²), C = 2·Z·bandwidth² (Tolstikhin et al. 2018). No nats.
    InfoVAE's loss with its α and λ is `balance.beta` = 1 − α and `weight` = α + λ − 1.
    """

    draws: ClassVar[bool] = True
    kind: Literal["mmd"] = "mmd"
    weight: float = Field(gt=0)
    """Of the squared discrepancy, which is at most 14: hundreds to thousands, to weigh as a KL."""
    bandwidth: float = Field(default=1.0, gt=0)
    """Length of the kernel in units of the prior's standard deviation."""
    scales: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

    def measure(self, codes: Codes) -> Components:
        """The squared discrepancy of z from as many draws of the prior: mmd."""
        z = codes.z
        drawn = codes.prior.sample(torch.Size([len(z)]))
        pairs = max(1, len(z) * (len(z) - 1))  # a batch of one has none
        own = (self._without_diagonal(z) + self._without_diagonal(drawn)) / pairs
        return {"mmd": own - 2 * self._kernel(z, drawn).mean()}

    def coefficients(self) -> Mapping[str, float]:
        """The weight."""
        return {"mmd": self.weight}

    def _without_diagonal(self, z: Tensor) -> Tensor:
        kernel = self._kernel(z, z)
        return kernel.sum() - kernel.diagonal().sum()

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """The kernel of all pairs, [A, B]."""
        squared = (a[:, None] - b).square().sum(-1)
        unit = 2 * a.shape[1] * self.bandwidth**2
        terms = [scale * unit / (scale * unit + squared) for scale in self.scales]
        return torch.stack(terms).sum(0)


Penalty = Annotated[NoPenalty | TotalCorrelation | DipVae | Mmd, Field(discriminator="kind")]
