"""The classifier two-sample test where the best accuracy is known."""

import math

import pytest
import torch

from vaebalance.evaluation.two_sample import Accuracy, two_sample_accuracy


def normal(count, latents, seed=0):
    return torch.randn(count, latents, generator=torch.Generator().manual_seed(seed))


def test_equal_distributions_cannot_be_told_apart():
    found = two_sample_accuracy(normal(1500, 3), normal(1500, 3, 1), 0)
    assert found.tested == 1500
    assert found.value == pytest.approx(0.5, abs=4 * found.standard_error)


@pytest.mark.parametrize(
    "other",
    [
        lambda z: z + torch.tensor([1.0, 0.0, 0.0]),  # a mean
        lambda z: z * torch.tensor([3.0, 1.0, 1.0]),  # a variance
        lambda z: (
            z @ torch.linalg.cholesky(torch.tensor([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1.0]])).T
        ),
    ],
    ids=["mean", "variance", "correlation"],
)
def test_a_difference_is_found_and_no_more_than_there_is(other):
    """The best possible accuracy is (1 + total variation) / 2; here by the likelihood ratio."""
    a, b = normal(3000, 3), other(normal(3000, 3, 1))
    covariance = torch.cov(other(normal(100_000, 3, 2)).T)
    q = torch.distributions.MultivariateNormal(other(torch.zeros(1, 3))[0], covariance)
    p = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    fresh_a, fresh_b = normal(50_000, 3, 3), other(normal(50_000, 3, 4))
    right = (p.log_prob(fresh_a) > q.log_prob(fresh_a)).float().mean()
    best = 0.5 * (right + (q.log_prob(fresh_b) > p.log_prob(fresh_b)).float().mean()).item()
    found = two_sample_accuracy(a, b, 0)
    assert best > 0.65
    assert best - 0.05 < found.value < best + 4 * found.standard_error


def test_sets_far_apart_are_told_apart_without_error():
    assert two_sample_accuracy(normal(100, 2), normal(100, 2) + 50, 0) == Accuracy(1.0, 100)


def test_the_standard_error_is_the_binomials():
    assert Accuracy(0.8, 400).standard_error == pytest.approx(math.sqrt(0.8 * 0.2 / 400))
    assert Accuracy(1.0, 10).standard_error == 0


def test_the_seed_decides_and_few_points_say_nothing():
    a, b = normal(60, 2), normal(60, 2, 1) + 0.5
    assert two_sample_accuracy(a, b, 0) == two_sample_accuracy(a, b, 0)
    assert two_sample_accuracy(a[:9], b, 0) is None
    assert two_sample_accuracy(a[:10], b, 0).tested == 10
