"""Likelihoods: from raw decoder output to p(x|z).

To add a likelihood, write one class here and add its name to `Likelihood`. It may need more than
one decoder output per pixel (`raw_channels`), and trained numbers of its own (`make_parameters`),
which the VAE holds and saves with its weights.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.distributions import Laplace as TorchLaplace
from torch.nn.functional import logsigmoid, softplus

from vaebalance.base.specs import Spec

IMAGE_DIMENSIONS = 3  # channel, height, width
LOG_SIGMA_FLOOR = -6.0
"""ln σ of two thirds of a grey level, the finest that 8-bit pixels can resolve."""
LOG_SCALE_CEILING = 5.0
"""A scale of 150 times the pixels' range; exp of much more overflows float32."""


class AbstractLikelihood(Spec, ABC):
    """p(x|z) for pixels x in [0, 1]."""

    is_density: ClassVar[bool] = True
    """Whether D = −log p(x|z) is in nats of a normalised density or probability mass."""

    @abstractmethod
    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Read decoder output as p(x|z), event [C, H, W].

        Args:
            raw: [..., raw_channels(C), H, W], unbounded.
            parameters: result of `make_parameters`, trained since; it is in training or evaluation
                mode like the model.
        """

    def raw_channels(self, channels: int) -> int:
        """Return the number of decoder outputs per pixel for an image of `channels`."""
        return channels

    def make_parameters(self) -> nn.Module:
        """Make the likelihood's own parameters and buffers in their initial state, if any."""
        return nn.Module()

    def is_mass(self, *, binarised: bool) -> bool:
        """Return whether p(x|z) is a probability mass over pixels, so that bits/dim is defined."""
        return False

    def misfit(self, binarisation: str) -> str | None:
        """Return why it cannot score this `data.binarisation`, with a remedy; None: it can."""
        return None

    def distortion_in_nats(self, mean: float, mean_square: float, dimensions: int) -> float:
        """Convert the distortion of a split to nats per image.

        Args:
            mean: mean of its images' distortions, as this likelihood defines them.
            mean_square: mean of their squares.
            dimensions: n = C·H·W.
        """
        return mean

    def equivalent_variance(self, rmse: float, dimensions: int) -> float | None:
        """Return σ² of the Gaussian whose D has this D's gradient, up to a factor that α·D shares.

        Args:
            rmse: RMSE of the run's reconstructions in pixel values, at which it holds.
            dimensions: n = C·H·W.

        Returns:
            None if D is not a function of the squared error.
        """
        return None

    def implied_sigma(
        self, predicted: float | None, rmse: float, dimensions: int, ratio: float
    ) -> float | None:
        """Return the σ of a pixel, in pixel values, that the weighted loss implies.

        Args:
            predicted: root of the mean variance of p(x|z); None if it is not a density.
            rmse: RMSE of the run's reconstructions.
            dimensions: n = C·H·W.
            ratio: β/α. It changes the σ of a fixed scale: α·SSE/(2σ²) + β·KL is that of σ√(β/α).
        """
        return predicted

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Say how to change the settings so that the implied σ becomes this RMSE, at this β."""
        return f"Use likelihood {{kind: gaussian, sigma: {rmse:.2g}}}, or gaussian_learned."

    def caution(self, *, binarised: bool) -> str | None:
        """Return what readers of this likelihood's numbers must know; None: nothing."""
        return None


class Bernoulli(AbstractLikelihood):
    """BCE from logits: D = Σ_i softplus(l_i) − x_i·l_i."""

    kind: Literal["bernoulli"] = "bernoulli"

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent Bernoulli pixels with logits `raw`."""
        return _of_image(TorchBernoulli(logits=raw, validate_args=False))  # grey values are allowed

    def is_mass(self, *, binarised: bool) -> bool:
        """Return whether pixels are black and white."""
        return binarised

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend a likelihood of grey values, or binary pixels."""
        return (
            f"Use a likelihood for grey values: {{kind: gaussian, sigma: {rmse:.2g}}}, "
            "gaussian_learned, discretised_logistic; or set data.binarisation."
        )

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that BCE on grey pixels is not a normalised likelihood."""
        if binarised:
            return None
        return (
            "BCE on grey pixels (or colours) is not a normalised likelihood: its nats compare only "
            "with other BCE models. Set data.binarisation (threshold, static or dynamic), or "
            "a likelihood for grey values (gaussian, discretised_logistic; "
            "continuous_bernoulli is the normalised BCE)."
        )


class ContinuousBernoulliPixels(Distribution):
    """p(x) = C(l)·σ(l)^x·(1 − σ(l))^(1−x) on [0, 1], logits l (Loaiza-Ganem & Cunningham 2019).

    ln C = ln(l / tanh(l/2)), with its series around 0. (torch's distribution clamps probabilities,
    so from |l| = 16 on it is wrong and has a zero gradient.)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        super().__init__(batch_shape=logits.shape, validate_args=False)
        self._logits = logits

    @property
    def mean(self) -> Tensor:
        """½ + ½·coth(l/2) − 1/l, which is closer to ½ than σ(l)."""
        near, safe, square = self._split()
        series = 0.5 + self._logits * (1 / 12 - square * (1 / 720 - square / 30240))
        return torch.where(near, series, 0.5 + 0.5 / torch.tanh(safe / 2) - 1 / safe)

    @property
    def variance(self) -> Tensor:
        """The derivative of the mean in l: 1/l² − 1/(4·sinh²(l/2)); 1/12 for a uniform."""
        near, safe, square = self._split()
        series = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square / 172800))
        bounded = safe.abs().clamp(max=80.0)  # beyond, sinh overflows float32; its term is about 0
        far = 1 / safe.square() - 0.25 / torch.sinh(bounded / 2).square()
        return torch.where(near, series, far)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the log density of each pixel in nats."""
        return value * self._logits - softplus(self._logits) + self.log_normaliser()

    def log_normaliser(self) -> Tensor:
        """Compute ln C(l)."""
        near, safe, square = self._split()
        series = math.log(2) + square * (1 / 12 - square * (7 / 1440 - square * 31 / 90720))
        far = safe.abs().log() - torch.tanh(safe.abs() / 2).log()
        return torch.where(near, series, far)

    def _split(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return where the series applies, l kept from 0 elsewhere, l² kept small for the series.

        (The branch that is not used must still be finite, or its gradient is NaN.)
        """
        near = self._logits.abs() < 0.5
        safe = torch.where(near, torch.ones_like(self._logits), self._logits)
        square = torch.where(near, self._logits, torch.zeros_like(self._logits)).square()
        return near, safe, square


class ContinuousBernoulli(AbstractLikelihood):
    """BCE with the normaliser that makes it a density of grey values."""

    kind: Literal["continuous_bernoulli"] = "continuous_bernoulli"

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent pixels with logits `raw`."""
        return _of_image(ContinuousBernoulliPixels(raw))

    def misfit(self, binarisation: str) -> str | None:
        """Refuse black and white pixels, which have no density."""
        return _needs_grey(self.kind, "a density of grey values", binarisation)


class Gaussian(AbstractLikelihood):
    """Fixed σ: D = ‖x − x̂‖² / (2σ²) + (n/2)·log(2πσ²), so "α·SSE + KL" is σ² = 1/(2α)."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: float = Field(default=0.1, gt=0)
    """Standard deviation of a pixel around its reconstruction, in pixel values from 0 to 1."""

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent normal pixels around sigmoid(raw), which is in the pixels' range."""
        mean = torch.sigmoid(raw)
        return _normal(mean, torch.full_like(mean, self.sigma))

    def equivalent_variance(self, rmse: float, dimensions: int) -> float | None:
        """Return the fixed σ²."""
        return self.sigma**2

    def implied_sigma(
        self, predicted: float | None, rmse: float, dimensions: int, ratio: float
    ) -> float | None:
        """Return σ√(β/α)."""
        return self.sigma * math.sqrt(ratio)

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend this σ, or the balance that finds it."""
        return (
            f"Set likelihood.sigma to about {rmse:.2g} if α = β, or leave it to balance "
            "{kind: optimal_sigma}."
        )

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that black and white pixels have no density."""
        return _density_of_black_and_white(binarised)


class GaussianLearned(AbstractLikelihood):
    """One σ for all pixels, trained with the weights (σ-VAE; Rybkin et al. 2021).

    ln σ ← −6 + softplus(ln σ + 6) keeps it from collapsing if reconstructions are exact.
    """

    kind: Literal["gaussian_learned"] = "gaussian_learned"
    initial_sigma: float = Field(default=1.0, gt=0)
    """σ before the first step, in pixel values from 0 to 1; Adam moves ln σ by a learning rate per
    step."""

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent normal pixels around sigmoid(raw)."""
        sigma = soft_clip(parameters.get_parameter("log_sigma"), LOG_SIGMA_FLOOR).exp()
        return _normal(torch.sigmoid(raw), sigma)

    def make_parameters(self) -> nn.Module:
        """Make log_sigma []."""
        return _trained_scalar("log_sigma", math.log(self.initial_sigma))

    def equivalent_variance(self, rmse: float, dimensions: int) -> float | None:
        """Return the residual variance, which σ² approaches for any α."""
        return rmse**2

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend a start from which σ converges."""
        return (
            f"σ has not converged: start it closer (likelihood.initial_sigma: {rmse:.2g}), or "
            "raise train.epochs."
        )

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that black and white pixels have no density."""
        return _density_of_black_and_white(binarised)


class GaussianPerPixel(AbstractLikelihood):
    """A separate σ for every pixel of every image: the decoder returns means, then ln σ."""

    kind: Literal["gaussian_per_pixel"] = "gaussian_per_pixel"

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent normal pixels, with ln σ clipped as in `GaussianLearned`."""
        mean, log_sigma = raw.chunk(2, dim=-IMAGE_DIMENSIONS)
        return _normal(torch.sigmoid(mean), soft_clip(log_sigma, LOG_SIGMA_FLOOR).exp())

    def raw_channels(self, channels: int) -> int:
        """Return twice the channels: means and ln σ."""
        return 2 * channels

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that constant pixels dominate the nats."""
        return (
            "with a σ for every pixel only the floor of σ (e⁻⁶) bounds the density: pixels that "
            "never change, such as a black border, reach it and dominate the nats. Compare with "
            "models of the same likelihood, or use discretised_logistic, a probability mass."
        )


class BatchOptimalGaussian(Distribution):
    """Normal pixels with σ² at the mean squared error of the scored images (`GaussianOptimal`)."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, mean: Tensor, parameters: nn.Module) -> None:
        super().__init__(
            batch_shape=mean.shape[:-IMAGE_DIMENSIONS],
            event_shape=mean.shape[-IMAGE_DIMENSIONS:],
            validate_args=False,
        )
        self._mean = mean
        self._parameters = parameters

    @property
    def mean(self) -> Tensor:
        """The reconstruction, [..., C, H, W]."""
        return self._mean

    def log_prob(self, value: Tensor) -> Tensor:
        """Score [..., C, H, W] as [...] nats; while gradients are recorded, σ² enters the average.

        σ² carries no gradient: at the best σ², D's derivative in it is zero.
        """
        squared_error = (self._mean.detach() - value).square()
        variance = squared_error.mean().clamp(min=math.exp(2 * LOG_SIGMA_FLOOR))
        if torch.is_grad_enabled():
            self._remember(variance)
        return _normal(self._mean, variance.sqrt()).log_prob(value)

    @torch.no_grad()
    def _remember(self, variance: Tensor) -> None:
        average = self._parameters.get_buffer("variance")
        steps = self._parameters.get_buffer("steps")
        steps += 1
        weight = (1 / steps).clamp(min=GaussianOptimal.averaging)
        average.lerp_(variance.to(average.dtype), weight)


class GaussianOptimal(AbstractLikelihood):
    """The best σ for each training batch: σ*² = MSE, so mean D = (n/2)·ln MSE + const (σ-VAE).

    Evaluation uses the σ² at the end of training, a running average over the last batches that is
    saved with the weights. Fitting σ to the evaluated images would favour the model.
    """

    kind: Literal["gaussian_optimal"] = "gaussian_optimal"
    averaging: ClassVar[float] = 0.05
    """Weight of the newest batch, so that the average covers about the last twenty."""

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent normal pixels around sigmoid(raw)."""
        mean = torch.sigmoid(raw)
        if parameters.training:
            return BatchOptimalGaussian(mean, parameters)
        return _normal(mean, parameters.get_buffer("variance").sqrt())

    def make_parameters(self) -> nn.Module:
        """Make the running variance [] and the count of batches, steps []."""
        parameters = nn.Module()
        parameters.register_buffer("variance", torch.ones(()))
        parameters.register_buffer("steps", torch.zeros(()))
        return parameters

    def equivalent_variance(self, rmse: float, dimensions: int) -> float | None:
        """Return the residual variance, for any α."""
        return rmse**2

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that black and white pixels have no density."""
        return _density_of_black_and_white(binarised)


class Laplace(AbstractLikelihood):
    """L1: D = Σ|x − x̂| / b + n·ln 2b."""

    kind: Literal["laplace"] = "laplace"
    scale: float = Field(default=0.1, gt=0)
    """b, the mean absolute error around a reconstruction, in pixel values from 0 to 1."""

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent Laplace pixels around sigmoid(raw)."""
        mean = torch.sigmoid(raw)
        return _laplace(mean, torch.full_like(mean, self.scale))

    def implied_sigma(
        self, predicted: float | None, rmse: float, dimensions: int, ratio: float
    ) -> float | None:
        """Return b√2 times β/α, because the weights multiply b by β/α."""
        return math.sqrt(2) * self.scale * ratio

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend the scale with this deviation."""
        return (
            f"Set likelihood.scale to about {rmse / math.sqrt(2):.2g} if α = β, or use "
            "laplace_learned."
        )

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that black and white pixels have no density."""
        return _density_of_black_and_white(binarised)


class LaplaceLearned(AbstractLikelihood):
    """L1 with one b for all pixels, trained with the weights and clipped like σ."""

    kind: Literal["laplace_learned"] = "laplace_learned"
    initial_scale: float = Field(default=1.0, gt=0)
    """b before the first step, in pixel values from 0 to 1."""

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent Laplace pixels around sigmoid(raw)."""
        scale = soft_clip(parameters.get_parameter("log_scale"), LOG_SIGMA_FLOOR).exp()
        return _laplace(torch.sigmoid(raw), scale)

    def make_parameters(self) -> nn.Module:
        """Make log_scale []."""
        return _trained_scalar("log_scale", math.log(self.initial_scale))

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend a start from which the scale converges."""
        return (
            "b has not converged: start it closer (likelihood.initial_scale: "
            f"{rmse / math.sqrt(2):.2g}), or raise train.epochs."
        )

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that black and white pixels have no density."""
        return _density_of_black_and_white(binarised)


class LogisticLevels(Distribution):
    """A mixture of logistics, discretised to 256 grey levels (Salimans et al. 2017).

    A level's probability is the logistic's mass within half a level of it. Black takes all mass
    below it, white all mass above it.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    step: ClassVar[float] = 1 / 255

    def __init__(self, log_weights: Tensor, location: Tensor, log_scale: Tensor) -> None:
        """Take arguments [..., K, C, H, W] of K components; `log_weights` are normalised over K."""
        self._dim = -IMAGE_DIMENSIONS - 1
        shape = location.shape[: self._dim] + location.shape[-IMAGE_DIMENSIONS:]
        super().__init__(batch_shape=shape, validate_args=False)
        self._log_weights = log_weights
        self._location = location
        self._scale = log_scale.exp()

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture clipped to [0, 1] instead of discretised: exact within half a level.

        E[clip(y)] = ∫₀¹ P(y > t) dt; its midpoint sum over the levels is the exact mean.
        """
        upper, lower = self._location / self._scale, (self._location - 1) / self._scale
        means = self._scale * (softplus(upper) - softplus(lower))
        return (self._log_weights.exp() * means).sum(self._dim).clamp(0, 1)

    @property
    def variance(self) -> Tensor:
        """Variance of the mixture clipped to [0, 1] and cut into 32 levels, a close approximation.

        E[y] = Σ P(y > t)·Δ and E[y²] = Σ 2t·P(y > t)·Δ over the levels' edges t. (The unclipped
        variance s²π²/3 includes tails that no pixel has.)
        """
        weights, width = self._log_weights.exp(), 1 / 32
        first, second = torch.zeros(()), torch.zeros(())
        for level in range(32):
            edge = (level + 0.5) * width
            above = torch.sigmoid((self._location - edge) / self._scale)
            mass = width * (weights * above).sum(self._dim)
            first, second = first + mass, second + 2 * edge * mass
        return second - first.square()

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the log probability of each pixel's nearest level, in nats."""
        level = (value.unsqueeze(self._dim) / self.step).round()
        upper = ((level + 0.5) * self.step - self._location) / self._scale
        width = self.step / self._scale
        below, above = logsigmoid(upper), logsigmoid(width - upper)
        inner = below + above + (-torch.expm1(-width)).log()
        mass = torch.where(level <= 0, below, torch.where(level >= 255, above, inner))
        return (self._log_weights + mass).logsumexp(self._dim)


class DiscretisedLogistic(AbstractLikelihood):
    """A probability mass over the 256 grey levels of 8-bit pixels, so bits/dim is defined."""

    kind: Literal["discretised_logistic"] = "discretised_logistic"
    components: int = Field(default=1, ge=1, le=30)
    """Number of logistics in each pixel's mixture."""
    log_scale_floor: ClassVar[float] = -7.0

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return independent pixels; locations are linear in `raw` and start spread out."""
        k = self.components
        parts = raw.unflatten(-IMAGE_DIMENSIONS, (self._outputs, -1))  # [..., outputs, C, H, W]
        raw_location, raw_log_scale, *raw_weights = parts.split(k, dim=-IMAGE_DIMENSIONS - 1)
        start = (torch.arange(k, dtype=raw.dtype, device=raw.device) + 0.5) / k
        location = raw_location + start[:, None, None, None]
        log_weights = (
            raw_weights[0].log_softmax(-IMAGE_DIMENSIONS - 1)
            if raw_weights
            else torch.zeros_like(location)
        )
        log_scale = soft_clip(raw_log_scale, self.log_scale_floor)
        return _of_image(LogisticLevels(log_weights, location, log_scale))

    def raw_channels(self, channels: int) -> int:
        """Count location and ln s of each component, and weights if there are several."""
        return self._outputs * channels

    @property
    def _outputs(self) -> int:
        return 2 if self.components == 1 else 3 * self.components

    def is_mass(self, *, binarised: bool) -> bool:
        """Return whether pixels have 8 bits."""
        return not binarised

    def misfit(self, binarisation: str) -> str | None:
        """Refuse black and white pixels, which would use two of 256 levels."""
        return _needs_grey(self.kind, "a probability of 256 grey levels", binarisation)


class SquaredErrorEnergy(Distribution):
    """Minus a function of an image's squared errors, in place of log p(x|z). Not a density."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, mean: Tensor, energy: Callable[[Tensor], Tensor]) -> None:
        """Take the reconstruction, and an `energy` from squared errors [..., n] to [...]."""
        super().__init__(
            batch_shape=mean.shape[:-IMAGE_DIMENSIONS],
            event_shape=mean.shape[-IMAGE_DIMENSIONS:],
            validate_args=False,
        )
        self._mean = mean
        self._energy = energy

    @property
    def mean(self) -> Tensor:
        """The reconstruction, [..., C, H, W]."""
        return self._mean

    def log_prob(self, value: Tensor) -> Tensor:
        """Map [..., C, H, W] to minus the energy, [...]; not in nats."""
        return -self._energy((self._mean - value).square().flatten(-IMAGE_DIMENSIONS))


class Rmse(AbstractLikelihood):
    """D = RMSE of each image, as in "α·RMSE + KL" of audio-VAE courses. Not a log-likelihood.

    Its effective variance n·RMSE/α adapts in part. Numbers in nats are those of the Gaussian with
    σ² at the mean squared error of the split: D = (n/2)·log(2πe·MSE).
    """

    kind: Literal["rmse"] = "rmse"
    is_density: ClassVar[bool] = False

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return the energy RMSE around sigmoid(raw), in pixel values."""
        # The square root's gradient is infinite at a perfect reconstruction.
        return SquaredErrorEnergy(torch.sigmoid(raw), lambda error: (error.mean(-1) + 1e-12).sqrt())

    def distortion_in_nats(self, mean: float, mean_square: float, dimensions: int) -> float:
        """Return the Gaussian's distortion at σ² = mean squared error, the mean of RMSE²."""
        return calibrated_distortion(mean_square, dimensions)

    def equivalent_variance(self, rmse: float, dimensions: int) -> float | None:
        """Return n·RMSE, since d RMSE = d SSE / (2n·RMSE)."""
        return dimensions * rmse

    def implied_sigma(
        self, predicted: float | None, rmse: float, dimensions: int, ratio: float
    ) -> float | None:
        """Return √(n·RMSE·β/α)."""
        return math.sqrt(dimensions * rmse * ratio)

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend α = n·β/RMSE."""
        return f"Set balance.alpha to about {dimensions * beta / rmse:.3g} at this β."

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that RMSE has no nll of its own."""
        return (
            "RMSE is not a log-likelihood: negative ELBO and nll are those of a Gaussian whose "
            "σ is calibrated on the data."
        )


class Sse(AbstractLikelihood):
    """D = ‖x − x̂‖² without a constant, as in "α·SSE + KL". Not a log-likelihood.

    It trains like the Gaussian of σ² = β/(2α). Numbers in nats are those of the Gaussian with σ² at
    the mean squared error of the split, as for `Rmse`.
    """

    kind: Literal["sse"] = "sse"
    is_density: ClassVar[bool] = False

    def distribution(self, raw: Tensor, parameters: nn.Module) -> Distribution:
        """Return the energy SSE around sigmoid(raw), in squared pixel values."""
        return SquaredErrorEnergy(torch.sigmoid(raw), lambda error: error.sum(-1))

    def distortion_in_nats(self, mean: float, mean_square: float, dimensions: int) -> float:
        """Return the Gaussian's distortion at σ² = mean squared error."""
        return calibrated_distortion(mean / dimensions, dimensions)

    def equivalent_variance(self, rmse: float, dimensions: int) -> float | None:
        """Return ½, at which SSE is SSE/(2σ²)."""
        return 0.5

    def implied_sigma(
        self, predicted: float | None, rmse: float, dimensions: int, ratio: float
    ) -> float | None:
        """Return √(β/(2α))."""
        return math.sqrt(ratio / 2)

    def to_calibrate(self, rmse: float, dimensions: int, beta: float) -> str:
        """Recommend α = β/(2·MSE)."""
        return f"Set balance.alpha to about {beta / (2 * rmse**2):.3g} at this β."

    def caution(self, *, binarised: bool) -> str | None:
        """Warn that a bare SSE has no nll of its own."""
        return (
            "a bare SSE is not a log-likelihood: α·SSE + β·KL trains like a Gaussian of "
            "σ² = β/(2α), while negative ELBO and nll are those of a Gaussian whose σ is "
            "calibrated on the data. {kind: gaussian, sigma: …} is the same with its constant."
        )


def soft_clip(value: Tensor, floor: float) -> Tensor:
    """Apply a floor with a gradient, floor + softplus(value − floor), and the ceiling."""
    return (floor + softplus(value - floor)).clamp(max=LOG_SCALE_CEILING)


def calibrated_distortion(mean_squared_error: float, dimensions: int) -> float:
    """Compute (n/2)·log(2πe·MSE), a Gaussian's D at σ² = MSE, in nats per image."""
    return 0.5 * dimensions * math.log(2 * math.pi * math.e * mean_squared_error)


def _trained_scalar(name: str, start: float) -> nn.Module:
    parameters = nn.Module()
    parameters.register_parameter(name, nn.Parameter(torch.tensor(start)))
    return parameters


def _of_image(pixels: Distribution) -> Distribution:
    return Independent(pixels, IMAGE_DIMENSIONS, validate_args=False)


def _normal(mean: Tensor, sigma: Tensor) -> Distribution:
    return _of_image(Normal(mean, sigma, validate_args=False))


def _laplace(mean: Tensor, scale: Tensor) -> Distribution:
    return _of_image(TorchLaplace(mean, scale, validate_args=False))


def _needs_grey(kind: str, what: str, binarisation: str) -> str | None:
    if binarisation == "none":
        return None
    return (
        f"likelihood.kind = {kind!r} is {what}, but data.binarisation = {binarisation!r} leaves "
        "black and white; use likelihood {kind: bernoulli}, or data.binarisation: none"
    )


def _density_of_black_and_white(binarised: bool) -> str | None:
    if not binarised:
        return None
    return (
        "black and white pixels have no density: these nats compare only with those of other "
        "densities, and fall without bound as the scale shrinks. bernoulli is the likelihood of "
        "such pixels; grey ones (data.binarisation: none) have a density."
    )


Likelihood = Annotated[
    Bernoulli
    | ContinuousBernoulli
    | Gaussian
    | GaussianLearned
    | GaussianPerPixel
    | GaussianOptimal
    | Laplace
    | LaplaceLearned
    | DiscretisedLogistic
    | Rmse
    | Sse,
    Field(discriminator="kind"),
]
