"""Posterior moments and active units."""

import torch

from vaebalance.evaluation.posterior_moments import (
    PosteriorMoments,
    active_units,
    posterior_moments,
)


def test_moments_are_those_of_the_posterior_whatever_the_batch(linear_gaussian, make_images):
    model, images = linear_gaussian(), make_images(150)
    mean, scale = model.exact_moments(images.pixels(slice(None), torch.device("cpu")))
    for batch_size in (7, 150):
        moments = posterior_moments(model, images, batch_size=batch_size)
        torch.testing.assert_close(moments.mean, mean.float())
        torch.testing.assert_close(moments.std, scale.float().expand(150, 2))


def test_the_autoencoders_moments_are_its_code(make_vae, make_images):
    model, images = make_vae(posterior="deterministic"), make_images(20, (1, 8, 8))
    moments = posterior_moments(model, images, batch_size=64)
    x = images.pixels(slice(None), torch.device("cpu"))
    torch.testing.assert_close(moments.mean, model.encoder(x).detach())
    assert (moments.std == 0).all()


def test_active_units_of_known_codes():
    """Use codes [−1, 1, −1, 1, …]·a, whose variance is a²."""
    signs = torch.tensor([-1.0, 1.0]).repeat(50)[:, None]
    means = 3.0 + signs * torch.tensor([1.0, 0.2, 0.09, 0.0])
    moments = PosteriorMoments(means, torch.ones_like(means))
    expected = torch.tensor([1.0, 0.04, 0.0081, 0.0], dtype=torch.float64)
    torch.testing.assert_close(moments.variance_of_mean, expected, rtol=1e-4, atol=1e-8)
    assert active_units(moments, 0.01).tolist() == [True, True, False, False]
    assert active_units(moments, 0.0).tolist() == [True, True, True, False]
    assert active_units(moments, 2.0).sum() == 0


def test_a_single_image_has_no_active_unit():
    moments = PosteriorMoments(torch.tensor([[5.0, -5.0]]), torch.ones(1, 2))
    assert active_units(moments, 0.01).tolist() == [False, False]
