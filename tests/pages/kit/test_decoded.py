"""Decoded codes, the choice of images, and formatted numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.pages.kit.decoded import interpolate, manifold, prior_samples, reconstruct, traverse
from vaebalance.pages.kit.words import counted, number, shortened, weight
from vaebalance.pages.report.sample_images import evenly, examples, most_typical


@pytest.fixture(scope="module")
def model(runs):
    return runs("plain").inputs().model


def test_traversal_moves_one_latent_only(model):
    start = torch.tensor([0.3, -0.2, 0.1, 0.5])
    values = torch.tensor([[-1.0, 0.0, 2.0], [0.5, 0.1, -0.5]])
    pictures = traverse(model, start, [2, 1], values)
    assert pictures.shape == (2, 3, 1, 8, 8)
    for row, latent in enumerate([2, 1]):
        for step in range(3):
            z = start.clone()
            z[latent] = values[row, step]
            expected = model.decode(z[None]).mean[0]
            torch.testing.assert_close(pictures[row, step], expected)
    # Setting a latent to its own value changes nothing.
    same = traverse(model, start, [3], start[3].expand(1, 1))
    torch.testing.assert_close(same[0, 0], model.decode(start[None]).mean[0])


def test_manifold_has_the_second_latent_upwards(model):
    centre = torch.tensor([0.3, -0.2, 0.1, 0.5])
    values = torch.tensor([[-1.0, 0.0, 2.0], [-0.5, 0.1, 0.6]])
    pictures = manifold(model, centre, [2, 0], values)
    assert pictures.shape == (3, 3, 1, 8, 8)
    for row, up in enumerate([0.6, 0.1, -0.5]):
        for column, right in enumerate([-1.0, 0.0, 2.0]):
            z = torch.tensor([up, -0.2, right, 0.5])
            torch.testing.assert_close(pictures[row, column], model.decode(z[None]).mean[0])
    line = manifold(model, centre, [2], values[:1])
    assert line.shape == (1, 3, 1, 8, 8)
    z = torch.tensor([0.3, -0.2, 2.0, 0.5])
    torch.testing.assert_close(line[0, 2], model.decode(z[None]).mean[0])


def test_interpolation_is_straight_and_ends_at_the_codes(model):
    start, end = torch.randn(2, 4), torch.randn(2, 4)
    pictures = interpolate(model, start, end, torch.linspace(0, 1, 5))
    assert pictures.shape == (2, 5, 1, 8, 8)
    for share, place in ((0.0, 0), (0.25, 1), (1.0, 4)):
        expected = model.decode(start + share * (end - start)).mean
        torch.testing.assert_close(pictures[:, place], expected)


def test_prior_samples_repeat_and_leave_the_random_state_alone(model):
    before = torch.random.get_rng_state()
    first = prior_samples(model, 300, 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, prior_samples(model, 300, 0))
    assert not torch.equal(first, prior_samples(model, 300, 1))
    assert first.shape == (300, 1, 8, 8)
    assert first.min() >= 0
    assert first.max() <= 1


def test_reconstruction_is_the_mean_at_the_posterior_mean(model):
    x = torch.rand(5, 1, 8, 8)
    found = reconstruct(model, x)
    posterior = model.encode(x)
    likelihood = model.decode(posterior.mean)
    torch.testing.assert_close(found.pictures, likelihood.mean)
    torch.testing.assert_close(found.distortion, -likelihood.log_prob(x))
    mean, variance = posterior.mean, posterior.variance
    rate = 0.5 * (mean**2 + variance - 1 - variance.log()).sum(1)
    torch.testing.assert_close(found.rate, rate)


def test_examples_take_turns_among_labels():
    labels = [2, 2, 2, 0, -1, 1, 0]
    assert examples(labels, 3) == [3, 5, 0]
    assert examples(labels, 5) == [3, 5, 0, 6, 1]
    assert examples(labels, 99) == [3, 5, 0, 6, 1, 2, 4]


@given(st.integers(1, 500), st.integers(1, 60))
def test_examples_without_labels_are_spread(total, count):
    chosen = examples([-1] * total, count)
    assert chosen == evenly(total, count)
    assert len(set(chosen)) == len(chosen) == min(total, count)
    assert chosen[0] == 0
    assert max(chosen) < total


def test_most_typical_is_nearest_to_the_mean():
    assert most_typical(torch.tensor([[0.0, 0.0], [4.0, 4.0], [2.0, 1.0], [1.0, 5.0]])) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (20.514, "20.51"),
        (-9.426, "−9.426"),
        (1234.5, "1,234"),
        (0.15642, "0.1564"),
        (5.2083e-5, "5.208 · 10⁻⁵"),
        (-1.5e9, "−1.5 · 10⁹"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "not a number"),
    ],
)
def test_numbers_for_readers(value, text):
    assert number(value) == text


def test_short_weights_and_counts():
    assert [weight(v) for v in (1.0, 0.25, 400.0, 12.5, 1e-6)] == [
        "1",
        "0.25",
        "400",
        "12.5",
        "1 · 10⁻⁶",
    ]
    assert counted(1, "latent") == "1 latent"
    assert counted(2000, "image") == "2,000 images"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"
