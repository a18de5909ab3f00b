"""Classifiers on codes where the best accuracy is known."""

import math

import pytest
import torch

from vaebalance.evaluation.probe import Accuracy, linear_probe, two_sample_accuracy


def normal(count, latents, seed=0):
    return torch.randn(count, latents, generator=torch.Generator().manual_seed(seed))


def test_a_label_that_is_linear_in_the_code_is_read():
    codes, test = normal(500, 4), normal(300, 4, 1)
    found = linear_probe(codes, (codes[:, 1] > 0).long(), test, (test[:, 1] > 0).long())
    assert found.accuracy.value > 0.97
    assert found.accuracy.tested == 300
    assert found.chance == pytest.approx(0.5, abs=0.08)


def test_the_codes_scale_does_not_matter():
    codes, test = normal(400, 2), normal(300, 2, 1)
    labels = [(points.sum(1) > 0).long() for points in (codes, test)]
    scale = torch.tensor([1e-3, 1e3])
    plain = linear_probe(codes, labels[0], test, labels[1]).accuracy.value
    scaled = linear_probe(codes * scale, labels[0], test * scale, labels[1]).accuracy.value
    assert scaled == pytest.approx(plain, abs=0.02)


def test_noise_gives_chance_and_a_nonlinear_label_hardly_more():
    codes, test = normal(800, 2), normal(800, 2, 1)
    labels = (torch.arange(800) % 4 == 0).long()
    noise = linear_probe(codes, labels, test, labels)
    assert noise.chance == 0.75
    assert noise.accuracy.value == pytest.approx(0.75, abs=0.03)
    exclusive = [(points.prod(1) > 0).long() for points in (codes, test)]
    assert linear_probe(codes, exclusive[0], test, exclusive[1]).accuracy.value < 0.6


def test_chance_is_of_the_commonest_training_label_on_the_test_images():
    labels, test_labels = torch.tensor([0] * 30 + [1] * 10), torch.tensor([0] * 5 + [1] * 15)
    found = linear_probe(normal(40, 1), labels, normal(20, 1, 1), test_labels)
    assert found.chance == 0.25


def test_images_without_a_label_are_left_out():
    codes, test = normal(300, 2), normal(300, 2, 1)
    labels, test_labels = (codes[:, 0] > 0).long(), (test[:, 0] > 0).long()
    clean = linear_probe(codes[:200], labels[:200], test[:200], test_labels[:200])
    labels[200:], test_labels[200:] = -1, -1
    assert linear_probe(codes, labels, test, test_labels) == clean


@pytest.mark.parametrize(
    ("labels", "test_labels"), [([-1] * 6, [0, 1]), ([3] * 6, [3, 3]), ([0, 1] * 3, [-1, -1])]
)
def test_without_labels_to_learn_and_to_read_there_is_no_probe(labels, test_labels):
    labels, test_labels = torch.tensor(labels), torch.tensor(test_labels)
    assert linear_probe(normal(6, 2), labels, normal(2, 2), test_labels) is None


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
    """Compare with the best accuracy, (1 + total variation) / 2, from the likelihood ratio."""
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
