"""Samples against images: the Fréchet distance by its formula, and how samples are made."""

import math
from typing import get_args

import numpy as np
import pytest
import scipy.linalg
import torch

from vaebalance.evaluation import features
from vaebalance.evaluation.samples import (
    are_draws,
    decoded_prior_samples,
    frechet_distance,
    sample_quality,
)
from vaebalance.evaluation.stage import evaluate
from vaebalance.vae.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian, Likelihood

EVERY_LIKELIHOOD = [member() for member in get_args(get_args(Likelihood)[0])]


def normal(count, dimensions, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64)


def test_the_frechet_distance_is_its_formula():
    """Compare with scipy's root of the matrix product, as the literature computes it."""
    a = normal(300, 5) @ normal(5, 5, 1)
    b = normal(200, 5, 2) @ normal(5, 5, 3) + 1.5
    means = [np.asarray(points.mean(0)) for points in (a, b)]
    covariances = [np.cov(points.numpy().T) for points in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


def test_the_frechet_distance_of_gaussians_that_differ_in_scale_and_place():
    """Expect (σ − 1)² per dimension for the scale, and the squared shift for the mean."""
    distance = frechet_distance(normal(100_000, 3), 2 * normal(100_000, 3, 1) + 1)
    assert distance == pytest.approx(3 * (2 - 1) ** 2 + 3, rel=0.03)


def test_the_frechet_distance_without_full_rank_or_spread():
    few = normal(4, 30)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(few, few + 1) == pytest.approx(30, rel=1e-6)
    point = torch.ones(5, 30, dtype=torch.float64)
    assert frechet_distance(point, point) == 0
    line = normal(500, 1)
    assert frechet_distance(line, line + 2) == pytest.approx(4)


def test_equal_distributions_are_near_the_floor_and_a_collapsed_one_is_precise_alone():
    reference = normal(500, 4)
    same = sample_quality(reference, normal(500, 4, 1))
    assert same.frechet < 0.1
    assert min(same.precision, same.recall, same.coverage) > 0.85
    collapsed = sample_quality(reference, 0.01 * normal(500, 4, 2))
    assert collapsed.precision == 1.0
    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.2
    assert collapsed.frechet > 3
    with pytest.raises(ValueError, match="two of each"):
        sample_quality(reference, reference[:1])


@pytest.mark.parametrize(
    ("likelihood", "draws"),
    [(Bernoulli(), True), *((likelihood, False) for likelihood in EVERY_LIKELIHOOD)],
    ids=lambda value: getattr(value, "kind", None),
)
def test_samples_are_pixels_and_follow_the_seed_alone(make_vae, likelihood, draws):
    model = make_vae(likelihood)

    def samples(batch_size=64, seed=0):
        blocks = decoded_prior_samples(model, 150, draws=draws, batch_size=batch_size, seed=seed)
        return torch.cat(list(blocks))

    first = samples()
    assert first.shape == (150, 1, 8, 8)
    assert first.min() >= 0
    assert first.max() <= 1
    torch.testing.assert_close(samples(batch_size=5000), first)
    assert not torch.equal(samples(seed=1), first)
    assert (set(first.unique().tolist()) == {0.0, 1.0}) == draws


def test_means_are_those_of_decoded_standard_normal_codes(make_vae):
    """Compare E[x̂] over the prior with more codes of torch's own."""
    model = make_vae()
    with torch.no_grad():
        expected = model.decode(torch.randn(50_000, 3)).mean.mean(0)
    found = torch.cat(list(decoded_prior_samples(model, 4000, draws=False, batch_size=512, seed=0)))
    torch.testing.assert_close(found.mean(0), expected, atol=0.01, rtol=0)


def test_draws_are_for_black_and_white_by_a_mass_alone():
    assert are_draws(Bernoulli(), binarised=True)[0]
    assert not are_draws(Bernoulli(), binarised=False)[0]
    assert not are_draws(Gaussian(), binarised=True)[0]
    assert not are_draws(DiscretisedLogistic(), binarised=False)[0]
    assert "black and white" in are_draws(Bernoulli(), binarised=True)[1]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 5)


def test_an_evaluation_with_samples(quick, make_vae, make_dataset, make_spec):
    dataset = make_dataset(label=torch.arange(90) % 10, binarisation="dynamic")
    found = evaluate(make_vae(), dataset, make_spec(sample_images=50), 0)
    assert list(found.samples) == ["own"]
    own = found.samples["own"]
    assert own.frechet == pytest.approx(own.frechet_floor, rel=0.3)  # fair coins, both
    settings = found.settings
    assert settings.sample_images == 50
    assert settings.prior_samples.startswith("draws")
    assert settings.feature_spaces == {"own": "own classifier, 64 features"}
    again = evaluate(make_vae(), dataset, make_spec(sample_images=50), 0)
    assert again.samples == found.samples
    grey = evaluate(make_vae(), make_dataset(), make_spec(sample_images=50), 0)
    assert grey.samples["own"].frechet > 1.2 * grey.samples["own"].frechet_floor
    assert grey.samples["own"].coverage < grey.samples["own"].coverage_floor
    assert grey.settings.prior_samples.startswith("means")


def test_the_feature_network_knows_neither_side(
    quick, monkeypatch, make_vae, make_dataset, make_spec
):
    """Check that at most 60 of 120 training images are the floor, and the others train it."""
    seen = []
    learn = features.own_features

    def watch(images, labels, seed):
        seen.append((images.positions, labels))
        return learn(images, labels, seed)

    from vaebalance.evaluation.sections import prior_samples

    monkeypatch.setattr(prior_samples, "own_features", watch)
    found = evaluate(make_vae(), make_dataset(), make_spec(sample_images=1000), 0)
    assert found.settings.sample_images == 60
    assert seen == [(list(range(1, 120, 2)), None)]
    assert found.settings.feature_spaces["own"].startswith("own autoencoder")


def test_few_images_or_none_asked_for(quick, make_vae, make_dataset, make_spec):
    assert evaluate(make_vae(), make_dataset(), make_spec(sample_images=0), 0).samples is None
    one = make_dataset(test=make_dataset().images("test")[:1])
    assert evaluate(make_vae(), one, make_spec(sample_images=50), 0).samples is None
    two = make_dataset(test=make_dataset().images("test")[:2])
    found = evaluate(make_vae(), two, make_spec(sample_images=50), 0)
    assert all(math.isfinite(value) for value in vars(found.samples["own"]).values())


def test_a_plain_autoencoders_samples_are_measured_too(quick, make_vae, make_dataset, make_spec):
    model = make_vae(posterior="deterministic")
    found = evaluate(model, make_dataset(), make_spec(sample_images=30), 0)
    assert found.samples["own"].frechet > 0
