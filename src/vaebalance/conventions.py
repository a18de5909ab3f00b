"""A run's weights as other projects would write them.

Only the ratio of the two weights matters to the optimum. For a squared error the whole balance is
one number, the σ² of the Gaussian with α = β = 1; for a cross-entropy it is β/α. Every convention
here is a way of writing that number. D, R, SSE and BCE are sums over an image's dimensions, means
over images; n = C·H·W is the number of dimensions, Z that of latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vaebalance.likelihoods import AbstractLikelihood, Bernoulli, Gaussian, Rmse


@dataclass(frozen=True)
class Scene:
    """What a convention may depend on besides the balance."""

    dimensions: int  # n
    latent_size: int  # Z
    rmse: float  # the run's own, in pixel values: only α·RMSE + KL depends on it


@dataclass(frozen=True)
class Convention:
    """A loss as someone writes it, with one weight to set.

    Its balance is factor·weight^power, where `balance` is σ² or β/α: see the module.
    """

    loss: str
    weight: str
    """The symbol of its weight."""
    used_by: str
    factor: Callable[[Scene], float]
    power: int = 1  # or 2, or −1

    def balance(self, weight: float, scene: Scene) -> float:
        """σ² or β/α for a weight in this convention."""
        return self.factor(scene) * float(weight) ** self.power

    def translate(self, balance: float, scene: Scene) -> float:
        """The inverse of `balance`."""
        return float((balance / self.factor(scene)) ** (1 / self.power))


SQUARED_ERROR = (
    Convention("SSE/(2σ²) + KL", "σ", "a Gaussian decoder; σ-VAE", lambda s: 1, power=2),
    Convention("α·SSE + KL", "α", "losses that weigh the reconstruction", lambda s: 0.5, power=-1),
    Convention(
        "α·MSE + KL", "α", "the same with the mean over pixels", lambda s: s.dimensions / 2, -1
    ),
    Convention(
        "α·RMSE + KL",
        "α",
        "audio-VAE courses; equal only where the RMSE is this run's",
        lambda s: s.dimensions * s.rmse,
        power=-1,
    ),
    Convention("½·SSE + β·KL", "β", "pythae, MultiVae", lambda s: 1),
    Convention("SSE + β·KL", "β", "1Konny's β-VAE, disentanglement_lib (L2)", lambda s: 1 / 2),
    Convention("255·SSE + β·KL", "β", "disentangling-vae (gaussian)", lambda s: 1 / 510),
    Convention("MSE + w·KL", "w", "AntixK's kld_weight in training", lambda s: s.dimensions / 2),
    Convention(
        "MSE + w·KL/Z",
        "w",
        "bolts' kl_coeff: the mean over latents, too",
        lambda s: s.dimensions / (2 * s.latent_size),
    ),
)
"""Their balance is σ²."""

CROSS_ENTROPY = (
    Convention("BCE + β·KL", "β", "β-VAE, pythae, torch's example", lambda s: 1),
    Convention("α·BCE + KL", "α", "losses that weigh the reconstruction", lambda s: 1, power=-1),
    Convention(
        "BCE/n + w·KL",
        "w",
        'reduction="mean", which divides D by the number of pixels',
        lambda s: s.dimensions,
    ),
    Convention(
        "BCE + (β_norm·n/Z)·KL",
        "β_norm",
        "the β-VAE paper's normalised β",
        lambda s: s.dimensions / s.latent_size,
    ),
)
"""Their balance is β/α."""


@dataclass(frozen=True)
class Row:
    """A convention and the weight that makes it this run's."""

    loss: str
    weight: str
    value: float
    used_by: str


@dataclass(frozen=True)
class Translation:
    """A run in other people's weights."""

    summary: str
    sigma: float | None
    """Of the Gaussian with α = β = 1 that it amounts to; None for a cross-entropy."""
    rows: tuple[Row, ...]


def translate(
    likelihood: AbstractLikelihood, alpha: float, beta: float, scene: Scene
) -> Translation:
    """What a run with these weights would be called elsewhere.

    Args:
        likelihood: of the run.
        alpha: its weight of D.
        beta: its weight of R.
        scene: its sizes, and its RMSE, at which RMSE losses are compared with squared errors.
    """
    if alpha == 0 or beta == 0:
        zero, left = ("α", "rate") if alpha == 0 else ("β", "distortion")
        return Translation(
            f"{zero} = 0: only the {left} was minimised, so there is no balance to translate.",
            None,
            (),
        )
    ratio = beta / alpha
    if isinstance(likelihood, Bernoulli):
        summary = f"Only β/α = {ratio:.4g} counts. A cross-entropy has no σ."
        return Translation(summary, None, _rows(CROSS_ENTROPY, ratio, scene))
    variance = effective_variance(likelihood, alpha, beta, scene)
    if variance is None:
        summary = f"Only β/α = {ratio:.4g} counts. This likelihood has no equal in other projects."
        return Translation(summary, None, ())
    sigma = variance**0.5
    summary = (
        f"It all amounts to a Gaussian with σ = {sigma:.4g} and α = β = 1: the decoder is trained "
        f"as if pixels strayed by {sigma:.4g}, and its reconstructions err by {scene.rmse:.4g} "
        f"(RMSE). The α·RMSE + KL that would match the two has α = n/RMSE = "
        f"{_short(scene.dimensions / scene.rmse)}."
    )
    return Translation(summary, sigma, _rows(SQUARED_ERROR, variance, scene))


def effective_variance(
    likelihood: AbstractLikelihood, alpha: float, beta: float, scene: Scene
) -> float | None:
    """σ² of the Gaussian whose D + R has the gradient of α·D + β·R, up to a factor.

    For RMSE it is n·RMSE·β/α, which holds at that RMSE: d RMSE = d SSE / (2n·RMSE). None for a
    likelihood that is no function of the squared error.
    """
    if isinstance(likelihood, Gaussian):
        return likelihood.sigma**2 * beta / alpha
    if isinstance(likelihood, Rmse):
        return scene.dimensions * scene.rmse * beta / alpha
    return None


def _rows(conventions: tuple[Convention, ...], balance: float, scene: Scene) -> tuple[Row, ...]:
    return tuple(Row(c.loss, c.weight, c.translate(balance, scene), c.used_by) for c in conventions)


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < 1e7 else f"{value:.4g}"
