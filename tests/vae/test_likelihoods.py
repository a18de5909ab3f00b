"""Likelihoods against torch.distributions, closed forms, quadrature and finite sums."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Laplace, Normal

from tests.helpers.members import examples
from vaebalance.testing import check_likelihood
from vaebalance.vae.likelihoods import (
    AbstractLikelihood,
    Bernoulli,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    GaussianLearned,
    GaussianOptimal,
    GaussianPerPixel,
    Likelihood,
    Rmse,
    Sse,
    soft_clip,
)
from vaebalance.vae.likelihoods import Laplace as LaplacePixels
from vaebalance.vae.likelihoods import LaplaceLearned as LaplaceLearnedPixels

CHANNELS, SIDE = 2, 5
IMAGES = 4
DIMENSIONS = CHANNELS * SIDE * SIDE
MEMBERS = examples(
    Likelihood,
    Gaussian(sigma=0.3),
    LaplacePixels(scale=0.2),
    DiscretisedLogistic(),
    DiscretisedLogistic(components=5),
)
every_member = pytest.mark.parametrize("likelihood", MEMBERS, ids=repr)


def read(likelihood: AbstractLikelihood, raw: Tensor, training: bool = False) -> Distribution:
    """Return p(x|z) by a likelihood before its first step."""
    return likelihood.distribution(raw, likelihood.make_parameters().train(training))


def make_raw(likelihood: AbstractLikelihood, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (IMAGES, likelihood.raw_channels(CHANNELS), SIDE, SIDE)
    return torch.randn(shape, generator=generator) * 3


@pytest.fixture
def x() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (IMAGES, CHANNELS, SIDE, SIDE)
    return torch.randint(0, 256, shape, generator=generator) / 255


# --- every member, by construction --------------------------------------------------------------


@every_member
def test_every_member_meets_the_requirements(likelihood):
    check_likelihood(likelihood)


@every_member
def test_a_step_with_it_can_be_compiled(likelihood, step_compiled):
    traced, plain = step_compiled(likelihood=likelihood)
    torch.testing.assert_close(traced, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("likelihood", "is_density", "is_mass"),
    [
        (Bernoulli(), True, {True}),
        (DiscretisedLogistic(), True, {False}),
        (ContinuousBernoulli(), True, set()),
        (GaussianLearned(), True, set()),
        (GaussianPerPixel(), True, set()),
        (Rmse(), False, set()),
        (Sse(), False, set()),
    ],
    ids=repr,
)
def test_what_each_is(likelihood, is_density, is_mass):
    """A density, or a mass over black and white pixels (True) or grey ones (False)."""
    assert likelihood.is_density == is_density
    assert {some for some in (True, False) if likelihood.is_mass(binarised=some)} == is_mass


# --- each against what it should be -------------------------------------------------------------


def raw_of_pixels(likelihood: AbstractLikelihood, spread: float, pixels: int = 40) -> Tensor:
    """Make float64 raw output of `pixels` images of one pixel, from mild to extreme."""
    generator = torch.Generator().manual_seed(5)
    shape = (pixels, likelihood.raw_channels(1), 1, 1)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * spread


def simpson(low: Tensor, high: Tensor, points: int = 10_001) -> tuple[Tensor, Tensor]:
    """Make grids [points, B] from low to high, each [B], and their weights."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)[:, None]
    rule = torch.full((points, 1), 2.0, dtype=torch.float64)
    rule[1::2], rule[0], rule[-1] = 4.0, 1.0, 1.0
    width = high - low
    return low + t * width, rule * width / (3 * (points - 1))


@pytest.mark.parametrize(
    ("likelihood", "weights", "sigma"),
    [
        (Gaussian(sigma=0.2), (1.0, 4.0), 0.4),
        (LaplacePixels(scale=0.1), (2.0, 1.0), 0.05 * math.sqrt(2)),
        (Rmse(), (640.0, 1.0), math.sqrt(64 * 0.1 / 640)),
        (Sse(), (50.0, 1.0), 0.1),
        (Bernoulli(), (1.0, 9.0), 0.3),  # what p(x|z) says of a pixel: no weight moves it
    ],
)
def test_the_sigma_that_likelihood_and_weights_imply(likelihood, weights, sigma):
    alpha, beta = weights
    found = likelihood.implied_sigma(0.3, 0.1, 64, beta / alpha)
    assert found == pytest.approx(sigma)


@pytest.mark.parametrize("likelihood", [Rmse(), Sse()])
def test_the_calibrated_weight_implies_the_residual(likelihood):
    """Follow the advice, and expect σ = RMSE."""
    alpha = float(re.search(r"about ([\d.e+]+)", likelihood.to_calibrate(0.1, 64, 2.0))[1])
    assert likelihood.implied_sigma(None, 0.1, 64, 2.0 / alpha) == pytest.approx(0.1, rel=1e-2)


def test_bernoulli_is_bce_summed_over_the_image(x):
    raw = make_raw(Bernoulli())
    probability = torch.sigmoid(raw.double())
    expected = -(x * probability.log() + (1 - x) * (1 - probability).log()).sum(dim=(1, 2, 3))
    actual = -read(Bernoulli(), raw).log_prob(x)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-4)


def test_bernoulli_mass_sums_to_one():
    """Sum over all 2⁴ images of 1×2×2 pixels."""
    raw = torch.tensor([[[0.3, -1.0], [2.0, 0.1]]])
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).reshape(16, 1, 2, 2)
    total = read(Bernoulli(), raw.expand(16, 1, 2, 2)).log_prob(images).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


def test_gaussian_is_the_stated_formula(x):
    """Compare with D = ‖x − x̂‖²/(2σ²) + (n/2)·log(2πσ²), and with torch's normal."""
    sigma, raw = 0.3, make_raw(Gaussian())
    mean = torch.sigmoid(raw)
    squared_error = (x - mean).square().sum(dim=(1, 2, 3))
    stated = squared_error / (2 * sigma**2) + DIMENSIONS / 2 * math.log(2 * math.pi * sigma**2)
    actual = -read(Gaussian(sigma=sigma), raw).log_prob(x)
    torch.testing.assert_close(actual, stated)
    torch.testing.assert_close(actual, -Normal(mean, sigma).log_prob(x).sum(dim=(1, 2, 3)))


def test_laplace_is_torchs(x):
    raw = make_raw(LaplacePixels())
    expected = Laplace(torch.sigmoid(raw), 0.2).log_prob(x).sum(dim=(1, 2, 3))
    torch.testing.assert_close(read(LaplacePixels(scale=0.2), raw).log_prob(x), expected)


def test_the_per_pixel_sigma_is_the_decoders_second_half(x):
    raw = make_raw(GaussianPerPixel()).clamp(max=4.0)  # below the ceiling
    log_sigma = -6 + (raw[:, CHANNELS:] + 6).exp().log1p()
    expected = Normal(torch.sigmoid(raw[:, :CHANNELS]), log_sigma.exp()).log_prob(x)
    torch.testing.assert_close(
        read(GaussianPerPixel(), raw).log_prob(x), expected.sum(dim=(1, 2, 3))
    )


def test_the_soft_clip_is_a_floor_and_a_ceiling():
    values = torch.tensor([-1e3, -6.0, 0.0, 3.0, 1e3])
    clipped = soft_clip(values, -6.0).tolist()
    expected = [-6.0, -6 + math.log(2), math.log1p(math.exp(6)) - 6, 3.0, 5.0]
    assert clipped == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("likelihood", "initial", "target"),
    [
        (GaussianLearned(), "initial_sigma", 0.1),
        (LaplaceLearnedPixels(), "initial_scale", 0.1 * math.sqrt(2 / math.pi)),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_a_learned_scale_comes_to_rest_at_the_residual(likelihood, initial, target):
    """Expect the root mean squared error for the Gaussian, the mean absolute one for Laplace."""
    generator = torch.Generator().manual_seed(3)
    raw = torch.zeros(64, 1, 16, 16)
    x = 0.5 + 0.1 * torch.randn(raw.shape, generator=generator)
    parameters = likelihood.make_parameters()
    start = next(parameters.parameters())
    assert start.item() == 0.0
    changed = likelihood.replace(**{initial: 0.25}).make_parameters()
    assert next(changed.parameters()).item() == pytest.approx(math.log(0.25))
    optimizer = torch.optim.Adam(parameters.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood.distribution(raw, parameters).log_prob(x).mean()).backward()
        optimizer.step()
    scale = soft_clip(start, -6.0).exp().item()
    assert scale == pytest.approx(target, rel=0.02)


class TestContinuousBernoulli:
    def log_normaliser(self, logit: float, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
        """Compute log C(l) from log p(0) = ln C(l) − softplus(l), and its gradient."""
        raw = torch.full((1, 1, 1, 1), logit, dtype=dtype, requires_grad=True)
        log_prob = read(ContinuousBernoulli(), raw).log_prob(torch.zeros_like(raw))
        value = log_prob + torch.nn.functional.softplus(raw)
        (gradient,) = torch.autograd.grad(value.sum(), raw)
        return value.item(), gradient.item()

    def test_the_published_numbers(self):
        """Check l = 17, where torch's distribution has 2.769 and no gradient."""
        value, gradient = self.log_normaliser(17.0, torch.float64)
        assert value == pytest.approx(2.833, abs=5e-4)
        assert gradient == pytest.approx(0.059, abs=5e-4)

    @pytest.mark.parametrize("logit", [-40, -3.0, -0.6, -0.499, -1e-3, 0, 0.01, 0.499, 0.501, 9])
    def test_the_normaliser_and_its_slope(self, logit):
        """Compute C = l / tanh(l/2) on both sides of the series; C(0) = 2."""
        value, gradient = self.log_normaliser(logit)
        if logit == 0:
            assert (value, gradient) == pytest.approx((math.log(2), 0), abs=1e-6)
            return
        assert value == pytest.approx(math.log(logit / math.tanh(logit / 2)), abs=1e-5)
        slope = 1 / logit - 1 / math.sinh(logit)
        assert gradient == pytest.approx(slope, abs=1e-4)

    @pytest.mark.parametrize("logit", [-0.3, 0.3])
    def test_the_series_has_all_its_terms(self, logit):
        """Compare where the first omitted term, 127·l⁸/4838400, is 2e-9."""
        value, _ = self.log_normaliser(logit, torch.float64)
        exact = math.log(logit / math.tanh(logit / 2))
        assert value == pytest.approx(exact, abs=3e-9)

    def test_it_is_torchs_where_that_is_sound(self, x):
        raw = make_raw(ContinuousBernoulli())
        expected = torch.distributions.ContinuousBernoulli(logits=raw.double())
        actual = read(ContinuousBernoulli(), raw)
        log_prob = expected.log_prob(x.double()).sum(dim=(1, 2, 3)).float()
        torch.testing.assert_close(actual.log_prob(x), log_prob, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(actual.mean, expected.mean.float(), rtol=1e-3, atol=1e-3)

    def test_its_mean_is_the_integrals(self):
        raw = torch.tensor([-50.0, -4.0, -0.49, 0.0, 0.2, 0.51, 12.0]).double()
        grid, weight = simpson(torch.zeros(7).double(), torch.ones(7).double())
        pixels = read(ContinuousBernoulli(), raw.reshape(7, 1, 1, 1))
        density = pixels.log_prob(grid[..., None, None, None]).exp()
        mean = (grid * density * weight).sum(0)
        torch.testing.assert_close(pixels.mean.flatten(), mean, atol=1e-6, rtol=0)


class TestDiscretisedLogistic:
    LEVELS = (torch.arange(256) / 255).double().reshape(256, 1, 1, 1, 1)

    def brute_force(self, likelihood: DiscretisedLogistic, raw: Tensor) -> Tensor:
        """Compute probabilities [256, B] as differences of the mixture's distribution function."""
        k = likelihood.components
        parts = raw.double().reshape(len(raw), -1, k)  # [B, 2 or 3, K]
        location = parts[:, 0] + (torch.arange(k).double() + 0.5) / k
        scale = (-7 + (parts[:, 1] + 7).exp().log1p()).exp()
        weights = parts[:, 2].softmax(-1) if k > 1 else torch.ones_like(location)
        edges = ((torch.arange(255).double() + 0.5) / 255)[:, None, None]
        below = (weights * torch.sigmoid((edges - location) / scale)).sum(-1)  # [255, B]
        zero, one = torch.zeros_like(below[:1]), torch.ones_like(below[:1])
        return torch.cat([below, one]) - torch.cat([zero, below])

    @pytest.mark.parametrize("components", [1, 3])
    def test_it_is_the_distribution_functions_difference(self, components):
        likelihood = DiscretisedLogistic(components=components)
        raw = raw_of_pixels(likelihood, 1.5)
        actual = read(likelihood, raw).log_prob(self.LEVELS).exp()
        torch.testing.assert_close(actual, self.brute_force(likelihood, raw), rtol=1e-6, atol=1e-12)

    def test_the_edges_take_all_that_is_beyond(self):
        """Put the location at 0.5 ∓ 3 with a small scale, and expect certain black or white."""
        raw = torch.tensor([[-3.0, -6.0], [3.0, -6.0]]).reshape(2, 2, 1, 1)
        x = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
        torch.testing.assert_close(
            read(DiscretisedLogistic(), raw).log_prob(x), torch.zeros(2), atol=1e-6, rtol=0
        )

    @pytest.mark.parametrize("components", [1, 4])
    @pytest.mark.parametrize("spread", [0.5, 5.0, 300.0])
    def test_its_mean_is_within_half_a_level(self, components, spread):
        likelihood = DiscretisedLogistic(components=components)
        pixels = read(likelihood, raw_of_pixels(likelihood, spread))
        exact = (self.LEVELS[..., 0, 0, 0] * pixels.log_prob(self.LEVELS).exp()).sum(0)
        torch.testing.assert_close(pixels.mean.flatten(), exact, atol=0.5 / 255, rtol=0)

    def test_a_value_stands_for_its_nearest_level(self):
        raw = raw_of_pixels(DiscretisedLogistic(), 1.0)
        pixels = read(DiscretisedLogistic(), raw)
        x = torch.full((len(raw), 1, 1, 1), 100 / 255).double()
        assert torch.equal(pixels.log_prob(x), pixels.log_prob(x + 0.4 / 255))
        assert not torch.equal(pixels.log_prob(x), pixels.log_prob(x + 0.6 / 255))

    def test_single_precision_is_enough(self):
        raw = raw_of_pixels(DiscretisedLogistic(components=3), 3.0)
        likelihood = DiscretisedLogistic(components=3)
        double = read(likelihood, raw).log_prob(self.LEVELS)
        single = read(likelihood, raw.float()).log_prob(self.LEVELS.float())
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=5e-3)


class TestGaussianOptimal:
    @pytest.fixture
    def raw(self) -> Tensor:
        return make_raw(GaussianOptimal())

    def test_in_training_d_is_half_n_ln_mse(self, raw, x):
        """Check value and gradient, although σ² carries no gradient."""
        raw.requires_grad_()
        distortion = -read(GaussianOptimal(), raw, training=True).log_prob(x).mean()
        error = (x - torch.sigmoid(raw)).square().mean()
        stated = DIMENSIONS / 2 * (error.log() + math.log(2 * math.pi * math.e))
        torch.testing.assert_close(distortion, stated)
        (actual,) = torch.autograd.grad(distortion, raw)
        (expected,) = torch.autograd.grad(stated, raw)
        torch.testing.assert_close(actual, expected)

    def test_no_fixed_sigma_beats_it_on_its_batch(self, raw, x):
        optimal = -read(GaussianOptimal(), raw, training=True).log_prob(x).mean()
        grid = [
            -read(Gaussian(sigma=sigma), raw).log_prob(x).mean().item()
            for sigma in torch.linspace(0.05, 2, 400).tolist()
        ]
        assert optimal.item() < min(grid)
        assert optimal.item() == pytest.approx(min(grid), abs=0.01)

    def test_in_evaluation_the_batch_does_not_matter(self, raw, x):
        """Check that an image scores the same alone, in its batch and with any others."""
        likelihood = GaussianOptimal()
        parameters = likelihood.make_parameters()
        likelihood.distribution(raw.requires_grad_(), parameters.train()).log_prob(x)
        before = {name: value.clone() for name, value in parameters.state_dict().items()}
        parameters.eval()
        whole = likelihood.distribution(raw, parameters).log_prob(x)
        alone = torch.cat(
            [
                likelihood.distribution(raw[i : i + 1], parameters).log_prob(x[i : i + 1])
                for i in range(IMAGES)
            ]
        )
        torch.testing.assert_close(whole, alone)
        for name, value in parameters.state_dict().items():
            assert torch.equal(value, before[name])

    def test_what_is_kept_is_the_average_of_the_last_training_batches(self, raw, x):
        likelihood = GaussianOptimal()
        parameters = likelihood.make_parameters().train()
        variances = []
        for step in range(40):
            shifted = (raw + 0.01 * step).requires_grad_()
            likelihood.distribution(shifted, parameters).log_prob(x)
            variances.append((torch.sigmoid(shifted) - x).square().mean().item())
        average = variances[0]
        for step, variance in enumerate(variances, start=1):
            average += (variance - average) * max(1 / step, 0.05)
        assert parameters.get_buffer("variance").item() == pytest.approx(average, rel=1e-5)
        assert average == pytest.approx(sum(variances[-20:]) / 20, rel=0.02)

    @torch.no_grad()
    def test_measuring_in_training_mode_leaves_no_trace(self, raw, x):
        likelihood = GaussianOptimal()
        parameters = likelihood.make_parameters().train()
        likelihood.distribution(raw, parameters).log_prob(x)
        assert parameters.get_buffer("steps").item() == 0

    def test_a_perfect_reconstruction_has_the_floor(self):
        raw = torch.zeros(1, 1, 2, 2, requires_grad=True)
        log_prob = read(GaussianOptimal(), raw, training=True).log_prob(
            torch.full((1, 1, 2, 2), 0.5)
        )
        log_prob.sum().backward()
        assert log_prob.item() == pytest.approx(4 * (6 - 0.5 * math.log(2 * math.pi)), rel=1e-5)
        assert raw.grad is not None
        assert raw.grad.isfinite().all()


def test_rmse_is_the_root_of_each_images_mean(x):
    raw = make_raw(Rmse())
    expected = (x - torch.sigmoid(raw)).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(-read(Rmse(), raw).log_prob(x), expected)


def test_rmse_has_a_gradient_at_a_perfect_reconstruction():
    raw = torch.zeros(1, 1, 2, 2, requires_grad=True)
    read(Rmse(), raw).log_prob(torch.full((1, 1, 2, 2), 0.5)).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_sse_is_the_gaussians_numerator(x):
    """Compare its gradient at α = 1 with that of the equivalent Gaussian, σ² = ½."""
    raw = make_raw(Sse()).requires_grad_()
    sse = -read(Sse(), raw).log_prob(x)
    torch.testing.assert_close(sse, (x - torch.sigmoid(raw)).square().sum(dim=(1, 2, 3)))
    variance = Sse().equivalent_variance(rmse=0.2, dimensions=DIMENSIONS)
    assert variance == 0.5
    gaussian = read(Gaussian(sigma=math.sqrt(variance)), raw).log_prob(x)
    (actual,) = torch.autograd.grad(sse.sum(), raw)
    (expected,) = torch.autograd.grad(-gaussian.sum(), raw)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("kind", ["rmse", "sse"])
def test_no_density_in_nats_is_the_best_gaussians_distortion(kind):
    """Check that no σ of a grid beats the calibrated one, (n/2)·log(2πe·MSE)."""
    rmse = torch.tensor([0.1, 0.2, 0.4])
    sums = DIMENSIONS * rmse.square()
    likelihood, distortions = {"rmse": (Rmse(), rmse), "sse": (Sse(), sums)}[kind]
    nats = likelihood.distortion_in_nats(
        float(distortions.mean()), float(distortions.square().mean()), dimensions=DIMENSIONS
    )
    grid = torch.linspace(0.05, 1, 2000)[:, None]
    distortion = sums / (2 * grid**2) + DIMENSIONS / 2 * torch.log(2 * math.pi * grid**2)
    assert nats == pytest.approx(distortion.mean(1).min().item(), abs=1e-3)


def test_a_densitys_distortion_is_in_nats_already():
    assert Bernoulli().distortion_in_nats(12.5, 200.0, dimensions=DIMENSIONS) == 12.5


@pytest.mark.parametrize("likelihood", [Gaussian(sigma=0.3), GaussianOptimal(), Rmse(), Sse()])
def test_the_equivalent_variance_is_that_of_the_gradient(likelihood, x):
    """Compare D's gradient with the squared error's over 2σ², for one image."""
    raw, x = make_raw(likelihood)[:1].requires_grad_(), x[:1]
    error = (x - torch.sigmoid(raw)).square()
    variance = likelihood.equivalent_variance(error.mean().sqrt().item(), DIMENSIONS)
    distortion = -read(likelihood, raw, training=True).log_prob(x).sum()
    (actual,) = torch.autograd.grad(distortion, raw)
    (expected,) = torch.autograd.grad(error.sum() / (2 * variance), raw)
    torch.testing.assert_close(actual, expected)


def test_cautions():
    """Check that BCE on grey pixels and RMSE say what their numbers are not."""
    assert "continuous_bernoulli" in (Bernoulli().caution(binarised=False) or "")
    assert Bernoulli().caution(binarised=True) is None
    assert "not a log-likelihood" in (Rmse().caution(binarised=True) or "")
    assert "σ² = β/(2α)" in (Sse().caution(binarised=False) or "")
    assert "floor" in (GaussianPerPixel().caution(binarised=False) or "")
    for density in (Gaussian(), GaussianLearned(), GaussianOptimal(), LaplacePixels()):
        assert density.caution(binarised=False) is None
        assert "no density" in (density.caution(binarised=True) or "")
    for mass in (DiscretisedLogistic(), ContinuousBernoulli()):
        assert mass.caution(binarised=False) is None


def test_who_needs_grey_pixels():
    for likelihood in (ContinuousBernoulli(), DiscretisedLogistic()):
        assert "{kind: bernoulli}" in (likelihood.misfit("dynamic") or "")
    assert Bernoulli().misfit("dynamic") is None
    assert Gaussian().misfit("threshold") is None


def test_only_functions_of_the_squared_error_have_an_equivalent_variance():
    """Check that a fitted σ is at the residual; for others no Gaussian has the same gradient."""
    found = {m.kind: m.equivalent_variance(rmse=0.1, dimensions=100) for m in MEMBERS}
    assert {kind: value for kind, value in found.items() if value is not None} == pytest.approx(
        {
            "gaussian": 0.3**2,
            "gaussian_learned": 0.1**2,
            "gaussian_optimal": 0.1**2,
            "rmse": 100 * 0.1,
            "sse": 0.5,
        }
    )
