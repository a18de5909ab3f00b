"""Models and data whose measures are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.measured_images import MeasuredImages
from vaebalance.evaluation.posterior_moments import PosteriorMoments
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

SHAPE = (1, 2, 3)
PIXELS = math.prod(SHAPE)
LATENTS = 2


class LinearGaussian:
    """x = W z + b + σ·noise with orthogonal columns in W, so log p(x) and q have closed forms.

    `widen` and `shift` make the posterior wrong: its scale times `widen`, its mean plus `shift`.
    """

    def __init__(
        self,
        widen: float = 1.0,
        shift: float = 0.0,
        sigma: float = 0.25,
        scales: tuple[float, float] = (0.6, 0.2),
    ) -> None:
        generator = torch.Generator().manual_seed(7)
        columns = torch.randn(PIXELS, LATENTS, generator=generator, dtype=torch.float64)
        basis, _ = torch.linalg.qr(columns)
        self.weights = basis * torch.tensor(scales, dtype=torch.float64)  # [n, Z]
        self.offset = torch.full((PIXELS,), 0.5, dtype=torch.float64)
        self.sigma = sigma
        self.widen, self.shift = widen, shift
        self.decoded: list[int] = []

    @property
    def prior(self) -> Independent:
        return Independent(Normal(torch.zeros(LATENTS), torch.ones(LATENTS)), 1)

    def exact_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean [B, Z] and scale [Z] of p(z|x)."""
        precision = 1 + self.weights.square().sum(0) / self.sigma**2
        centred = x.double().flatten(1) - self.offset
        return centred @ self.weights / self.sigma**2 / precision, precision.rsqrt()

    def encode(self, x: Tensor) -> Independent:
        mean, scale = self.exact_moments(x)
        mean, scale = mean + self.shift, (scale * self.widen).expand_as(mean)
        return Independent(Normal(mean.float(), scale.float()), 1)

    def decode(self, z: Tensor) -> Independent:
        self.decoded.append(math.prod(z.shape[:-1]))
        mean = z @ self.weights.float().T + self.offset.float()
        return Independent(Normal(mean.unflatten(-1, SHAPE), self.sigma), 3)

    def draw(self, count: int, seed: int = 0) -> Tensor:
        """Draw images x ~ p(x), [count, *SHAPE] float64."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, PIXELS, generator=generator, dtype=torch.float64)
        return (z @ self.weights.T + self.offset + self.sigma * noise).unflatten(1, SHAPE)

    def moments(self, count: int, seed: int = 0) -> PosteriorMoments:
        """Compute the moments of q(z|x) for images x ~ p(x)."""
        posterior = self.encode(self.draw(count, seed))
        return PosteriorMoments(posterior.mean, posterior.variance.sqrt())

    def aggregate(self) -> Independent:
        """Return q(z) for images x ~ p(x): means of variance 1 − s², with q(z|x) around them."""
        _, scale = self.exact_moments(torch.zeros(1, *SHAPE))
        variance = 1 + (self.widen**2 - 1) * scale.square()
        return Independent(Normal(torch.full_like(scale, self.shift), variance.sqrt()), 1)

    def mutual_information(self) -> float:
        """Compute I_q(x; z) in nats: the entropy of q(z) minus that of q(z|x)."""
        _, scale = self.exact_moments(torch.zeros(1, *SHAPE))
        return float((self.aggregate().base_dist.scale / (scale * self.widen)).log().sum())

    def marginal_kl(self) -> float:
        """Compute KL(q(z) ‖ p(z)) in nats."""
        prior = Independent(Normal(torch.zeros(LATENTS).double(), 1.0), 1)
        return float(torch.distributions.kl_divergence(self.aggregate(), prior))

    def nll(self, x: Tensor) -> Tensor:
        """Compute −log p(x) exactly, [B] nats."""
        noise = self.sigma**2 * torch.eye(PIXELS, dtype=torch.float64)
        marginal = MultivariateNormal(self.offset, self.weights @ self.weights.T + noise)
        return -marginal.log_prob(x.double().flatten(1))

    def gap(self) -> float:
        """Compute KL(q(z|x) ‖ p(z|x)) in nats, which is the same for every x."""
        _, scale = self.exact_moments(torch.zeros(1, *SHAPE))
        wrong = Independent(Normal(torch.full_like(scale, self.shift), scale * self.widen), 1)
        right = Independent(Normal(torch.zeros_like(scale), scale), 1)
        return float(torch.distributions.kl_divergence(wrong, right))


@pytest.fixture
def linear_gaussian():
    """Return the class; its parameters make the posterior wrong."""
    return LinearGaussian


def random_images(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


@pytest.fixture
def make_images():
    """Return a function (count, shape, seed, binarisation) -> MeasuredImages of noise."""

    def make(count=150, shape=SHAPE, seed=0, binarisation="none"):
        return MeasuredImages(random_images(count, shape, seed), binarisation, seed=11)

    return make


@pytest.fixture
def make_spec():
    """Return a function from changes to an `EvaluateSpec` that measures little."""

    def make(**changes):
        values = {
            "nll_samples": 8,
            "batch_size": 64,
            "active_threshold": 0.01,
            "latent_samples": 100,
            "sample_images": 0,
            "inception_weights": None,
        }
        return EvaluateSpec(**(values | changes))

    return make


def vae(
    likelihood=None, posterior: str = "gaussian", shape: tuple[int, int, int] = (1, 8, 8)
) -> VAE:
    """Make an untrained VAE with 3 latents."""
    torch.manual_seed(3)
    spec = ModelSpec(architecture=Mlp(hidden=(16,)), latent_size=3, posterior=posterior)
    return VAE(spec, likelihood or Bernoulli(), shape).eval()


@pytest.fixture
def make_vae():
    """Return a function (likelihood, posterior, shape) -> VAE."""
    return vae


@dataclass
class StandIn:
    """The parts of a `Dataset` that evaluation uses."""

    splits: dict[str, Tensor]
    binarisation: str = "none"
    label: Tensor | None = None
    """Of the test images; other splits are labelled in the same turn."""
    factor_names: tuple[str, ...] | None = None
    factor: dict[str, Tensor] | None = None

    folder = Path("data/prepared")

    @property
    def info(self) -> SimpleNamespace:
        return SimpleNamespace(
            image_shape=tuple(self.splits["test"].shape[1:]),
            binarisation=self.binarisation,
            factor_names=self.factor_names,
        )

    def images(self, split: str) -> Tensor:
        return self.splits[split]

    def labels(self, split: str) -> Tensor | None:
        if self.label is None or split == "test":
            return self.label
        return self.label.repeat(10)[: len(self.splits[split])]

    def factors(self, split: str) -> Tensor | None:
        return self.factor[split] if self.factor else None


@pytest.fixture
def make_dataset():
    """Return a function (test, validation, binarisation, label) -> a data set of 8×8 images."""

    def make(test=None, validation=None, binarisation="none", label=None):
        splits = {
            "test": random_images(90, (1, 8, 8), 1) if test is None else test,
            "validation": random_images(70, (1, 8, 8), 2) if validation is None else validation,
            "train": random_images(120, (1, 8, 8), 3),
        }
        return StandIn(splits, binarisation, label)

    return make
