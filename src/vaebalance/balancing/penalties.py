"""Terms beside the KL: further costs of a latent space, added to α·D + β·R.

A penalty measures named components of a batch's codes and gives the cost of each; every component
is logged, even one that costs nothing. To add a penalty, write one class here and add its name to
`Penalty`.

Components are means over a batch. Some depend on its size (each class says how), so training and
validation measure them on batches of the same size.
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
    """What a penalty knows about a batch."""

    posterior: Independent[Distribution]  # q(z|x), batch [B], event [Z]
    z: Tensor  # [B, Z], a sample of it
    prior: Independent[Distribution]  # p(z), event [Z]
    images: int  # N of the set that the batch was drawn from


class AbstractPenalty(Spec, ABC):
    """A cost of q(z|x), measured on a batch."""

    draws: ClassVar[bool] = False
    """Whether measuring draws random numbers."""

    @abstractmethod
    def measure(self, codes: Codes) -> Components:
        """Measure the components, each []."""

    @abstractmethod
    def coefficients(self) -> Mapping[str, float]:
        """Return the weight of each component in the loss, by name."""

    def weighted(self, components: Components) -> Tensor | float:
        """Compute what is added to α·D + β·R, []."""
        costs = self.coefficients()
        return sum((costs[name] * value for name, value in components.items()), start=0.0)

    def misfit(self, posterior: str) -> str | None:
        """Return why codes of this `model.posterior` do not suit, with a remedy; None: they do."""
        return None


class NoPenalty(AbstractPenalty):
    """No term beside the rate."""

    kind: Literal["none"] = "none"

    def measure(self, codes: Codes) -> Components:
        """Return no components."""
        return {}

    def coefficients(self) -> Mapping[str, float]:
        """Return no weights."""
        return {}


class TotalCorrelation(AbstractPenalty):
    """The three parts of the rate, with extra weight on the latents' dependence (Chen et al. 2018).

        E[R] = I_q(x; z) + KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j))

    β-TCVAE's loss with its β is `balance.beta` = 1 and `weight` = β − 1. The parts use an estimate
    of log q(z) from the batch, and so depend on its size B. All are in nats.
    """

    kind: Literal["total_correlation"] = "total_correlation"
    weight: float = Field(gt=0)
    """Weight of the total correlation, in addition to its β as a part of the rate."""
    estimator: Literal["stratified", "minibatch_weighted"] = "stratified"
    """stratified: q̂(z) is unbiased for any B. minibatch_weighted: the published estimate, too low
    by a factor between B, if posteriors do not overlap, and N, if all are alike."""

    def measure(self, codes: Codes) -> Components:
        """Estimate index_code_mi, total_correlation and dimension_wise_kl."""
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
        """Return the weights: only the total correlation has a cost."""
        return {
            "index_code_mi": 0.0,
            "total_correlation": self.weight,
            "dimension_wise_kl": 0.0,
        }

    def log_weights(self, batch: int, images: int, device: torch.device | None = None) -> Tensor:
        """Compute the log of w_im in q̂(z_i) = Σ_m w_im q(z_i|x_m): [B, B].

        minibatch_weighted: 1/(BN). stratified: 1/N for the image itself, and the rest of 1 in equal
        shares for the others. (The published estimator gives one of the others, the last, a weight
        of its own. This is the mean over which one is the last: also unbiased, with less variance.)
        """
        if self.estimator == "minibatch_weighted":
            return torch.full((batch, batch), -math.log(batch * images), device=device)
        if batch == 1:
            return torch.zeros(1, 1, device=device)
        others = (images - 1) / (images * (batch - 1))
        weights = torch.full((batch, batch), others, device=device).fill_diagonal_(1 / images)
        return weights.log()

    def misfit(self, posterior: str) -> str | None:
        """Refuse codes without a density, which have no q(z)."""
        if posterior == "gaussian":
            return None
        return (
            f"penalty.kind = 'total_correlation' needs densities q(z|x), and model.posterior = "
            f"{posterior!r} has none; use penalty {{kind: mmd, weight: …}}, or posterior: gaussian"
        )


class DipVae(AbstractPenalty):
    """The covariance C of the aggregate posterior against the identity (Kumar et al. 2018).

    weight·Σ_{i≠j} C_ij² + diagonal·Σ_i (C_ii − 1)². Variant i: C = Cov_x(E[z|x]). Variant ii: C =
    Cov_q(z), which adds E_x[Var[z|x]]. Not in nats. Over B images C has a relative error of about
    √(2/B).
    """

    kind: Literal["dip_vae"] = "dip_vae"
    weight: float = Field(gt=0)
    """λ_od, weight of the squared covariances."""
    variant: Literal["i", "ii"] = "i"
    """i: covariance of the posterior means; ii: of the aggregate posterior."""
    diagonal: float | None = Field(default=None, ge=0)
    """λ_d, weight of (C_ii − 1)²; null: 10·weight for i, weight for ii."""

    def measure(self, codes: Codes) -> Components:
        """Compute covariance, Σ_{i≠j} C_ij², and variance, Σ_i (C_ii − 1)²."""
        mean = codes.posterior.mean
        centred = mean - mean.mean(0)
        covariance = centred.T @ centred / len(centred)  # [Z, Z]
        variances = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variances.square().sum()
        if self.variant == "ii":
            variances = variances + codes.posterior.variance.mean(0)
        return {"covariance": off_diagonal, "variance": (variances - 1).square().sum()}

    def coefficients(self) -> Mapping[str, float]:
        """Return λ_od and λ_d."""
        default = 10 * self.weight if self.variant == "i" else self.weight
        return {
            "covariance": self.weight,
            "variance": default if self.diagonal is None else self.diagonal,
        }


class Mmd(AbstractPenalty):
    """Maximum mean discrepancy between aggregate posterior and prior (InfoVAE, Zhao et al. 2017).

    The U-statistic: about 0, and possibly below, if the two are alike; its noise falls as 1/B. The
    kernel is Σ_s s·C/(s·C + ‖z − z'‖²) with C = 2·Z·bandwidth² (Tolstikhin et al. 2018). Not in
    nats. InfoVAE's loss with its α and λ is `balance.beta` = 1 − α and `weight` = α + λ − 1.
    """

    draws: ClassVar[bool] = True
    kind: Literal["mmd"] = "mmd"
    weight: float = Field(gt=0)
    """Weight of the squared discrepancy, which is at most 14; to count as much as a KL it needs
    hundreds to thousands."""
    bandwidth: float = Field(default=1.0, gt=0)
    """Length scale of the kernel, in standard deviations of the prior."""
    scales: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

    def measure(self, codes: Codes) -> Components:
        """Compute mmd, the squared discrepancy between z and as many draws from the prior."""
        z = codes.z
        drawn = codes.prior.sample(torch.Size([len(z)]))
        pairs = max(1, len(z) * (len(z) - 1))  # a batch of one has none
        within = (self._without_diagonal(z) + self._without_diagonal(drawn)) / pairs
        return {"mmd": within - 2 * self._kernel(z, drawn).mean()}

    def coefficients(self) -> Mapping[str, float]:
        """Return the weight."""
        return {"mmd": self.weight}

    def _without_diagonal(self, z: Tensor) -> Tensor:
        kernel = self._kernel(z, z)
        return kernel.sum() - kernel.diagonal().sum()

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute the kernel of all pairs, [A, B]."""
        squared = (a[:, None] - b).square().sum(-1)
        unit = 2 * a.shape[1] * self.bandwidth**2
        terms = [scale * unit / (scale * unit + squared) for scale in self.scales]
        return torch.stack(terms).sum(0)


Penalty = Annotated[NoPenalty | TotalCorrelation | DipVae | Mmd, Field(discriminator="kind")]
