"""ELBO surgery: the mean rate is index-code mutual information + marginal KL. Nats.

    R = I_q(n; z) + KL(q(z) ‖ p(z))        (Hoffman & Johnson 2016)

q(z) is the aggregate posterior, the mean of q(z|x_n) over N images. For a finite set both parts
are exact up to sampling noise, and their split is a property of the set: a code distinguishes at
most N images, so I ≤ ln N. As estimates for the population of images, I is too small and the
marginal KL too large, without limit once I is near ln N: the marginal KL is then R − ln N for any
model. `held_out_marginal_kl` errs in the other direction.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.base.seeds import derive_seed
from vaebalance.evaluation.posterior_moments import PosteriorMoments

LOG_TWO_PI = math.log(2 * math.pi)
BLOCK_ELEMENTS = 2**20
"""Log densities [codes, images] held at once: 8 MB."""
LEAST_CODES = 5000
"""The mutual information is averaged over at least this many codes of all images …"""
MOST_CODES_AN_IMAGE = 64
"""… but over no more codes of each image: with few images, more codes add no information."""
COMPONENTS = (8, 32)
"""Sizes of the Gaussian mixtures to try on the training codes."""
CODES_A_DIMENSION = 5
"""Training codes per latent that each component needs; with fewer its covariance is noise."""


@dataclass(frozen=True)
class Surgery:
    """The two parts of the mean rate of N images; nats per image."""

    mutual_information: float
    """I_q(n; z) between an image's index and its code, ≤ ln N."""
    marginal_kl: float
    """KL(q(z) ‖ p(z)): the mean rate minus the mutual information."""
    standard_error: float | None
    """Standard error of both, from the spread over images; None for a single image."""
    images: int
    """N."""
    codes: int
    """Number of z ~ q(z|x) drawn for each image."""

    @property
    def ceiling(self) -> float:
        """The logarithm of N, the largest measurable mutual information."""
        return math.log(self.images)

    @property
    def estimator(self) -> str:
        """The estimator in words."""
        draws = "one code" if self.codes == 1 else f"{self.codes} codes"
        return (
            f"{draws} per image against the mean posterior of all {self.images:,}, its own "
            f"included; at most ln {self.images:,} = {self.ceiling:.2f} nats, too small near it"
        )


@dataclass(frozen=True)
class HeldOutMarginalKl:
    """E[ln q̂(z) − ln p(z)] over test codes; nats per image."""

    value: float
    standard_error: float | None
    density: str
    """Description of q̂."""


def surgery(moments: PosteriorMoments, seed: int) -> Surgery:
    """Split the mean rate of the images behind `moments` into its two parts.

    I = E_n E_{z ~ q(z|x_n)} [ln q(z|x_n) − ln 1/N Σ_m q(z|x_m)], with n among the m.
    """
    count = len(moments)
    codes = min(math.ceil(LEAST_CODES / count), MOST_CODES_AN_IMAGE)
    information = torch.zeros(count, dtype=torch.float64)
    for draw in range(codes):
        z = moments.sample(derive_seed(seed, "surgery", draw))
        log_posterior = _log_normal(z, moments.mean.double(), moments.std.double())
        information += (log_posterior - log_aggregate_posterior(moments, z)) / codes
    mean = float(information.mean())
    error = float(information.std() / math.sqrt(count)) if count > 1 else None
    return Surgery(mean, float(moments.rate.mean()) - mean, error, count, codes)


def log_aggregate_posterior(moments: PosteriorMoments, z: Tensor) -> Tensor:
    """Compute log 1/N Σ_n q(z|x_n) of codes z [M, Z]: [M] float64, in bounded memory.

    Σ_j (z_j − μ_j)²/σ_j² is expanded into matrix products. In float64 the cancellation costs 1e-6
    nats for the smallest σ (e⁻¹⁰), and nothing elsewhere.
    """
    mean, precision = moments.mean.double(), moments.std.double().square().reciprocal()
    scaled = mean * precision  # [N, Z]
    constants = (mean * scaled).sum(1) - precision.log().sum(1) + z.shape[1] * LOG_TWO_PI
    size = max(1, BLOCK_ELEMENTS // len(moments))
    log_densities = []
    for part in z.double().split(size):
        squares = torch.addmm(constants, part.square(), precision.T)
        squares.addmm_(part, scaled.T, alpha=-2)
        log_densities.append(squares.mul_(-0.5).logsumexp(1))
    return torch.cat(log_densities) - math.log(len(moments))


def held_out_marginal_kl(training: Tensor, test: Tensor, seed: int) -> HeldOutMarginalKl:
    """Estimate a lower bound, in expectation, on KL(q(z) ‖ p(z)) for the population of images.

    E_q[ln q̂ − ln p] = KL(q ‖ p) − KL(q ‖ q̂) for any q̂ that has not seen the codes of the
    average. Candidates for q̂ are the prior, Gaussians and Gaussian mixtures. They are fitted to
    four fifths of the training codes; the one with the highest likelihood on the last fifth is
    chosen.

    Args:
        training: codes z ~ q(z|x) of training images, [M, Z].
        test: codes of test images, [N, Z].
        seed: seed of the mixtures' starting points.
    """
    held_out = torch.arange(len(training)) % 5 == 4
    fit, select = training[~held_out].double(), training[held_out].double()
    densities = list(_densities(fit, seed)) if len(select) else [PRIOR]
    likelihoods = [float(density(select).sum()) for _, density in densities]
    name, log_density = densities[likelihoods.index(max(likelihoods))]
    ratio = log_density(test.double()) - log_prior(test.double())
    error = float(ratio.std() / math.sqrt(len(ratio))) if len(ratio) > 1 else None
    return HeldOutMarginalKl(float(ratio.mean()), error, name)


def log_prior(z: Tensor) -> Tensor:
    """Compute the log density of N(0, I) at codes [..., Z]."""
    return -0.5 * (z.square() + LOG_TWO_PI).sum(-1)


def _log_normal(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Compute the log density of N(mean, diag std²) at z, each [N, Z]: [N]."""
    return log_prior((z - mean) / std) - std.log().sum(-1)


LogDensity = Callable[[Tensor], Tensor]
"""Codes [M, Z] -> [M]."""
PRIOR: tuple[str, LogDensity] = ("the prior", log_prior)


def _densities(codes: Tensor, seed: int) -> Iterator[tuple[str, LogDensity]]:
    """Iterate over the prior and densities fitted to codes [M, Z], with names; simplest first."""
    count, latents = codes.shape
    yield PRIOR
    if count < 2:
        return
    yield "a Gaussian, diagonal", _mixture(codes, 1, "diag", seed)
    for components in (1, *COMPONENTS):
        if count >= CODES_A_DIMENSION * components * latents:
            name = "a Gaussian" if components == 1 else f"a mixture of {components} Gaussians"
            yield name, _mixture(codes, components, "full", seed)


def _mixture(codes: Tensor, components: int, covariance: str, seed: int) -> LogDensity:
    """Fit a Gaussian mixture by expectation maximisation, and return its log density."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.mixture import GaussianMixture  # type: ignore[import-untyped]

    mixture = GaussianMixture(components, covariance_type=covariance, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # A q̂ short of its optimum gives a valid bound, too; held-out codes choose among them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(codes.numpy())

    def log_density(z: Tensor) -> Tensor:
        return torch.from_numpy(mixture.score_samples(z.numpy()))

    return log_density
