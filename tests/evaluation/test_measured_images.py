"""Every reading of a split gives the same pixels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.base.errors import UserError
from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nll
from vaebalance.evaluation.calibration import calibrate
from vaebalance.evaluation.measured_images import encoded, gathered, measured_images, spread
from vaebalance.evaluation.posterior_moments import posterior_moments
from vaebalance.evaluation.reconstructions import reconstruction_quality

CPU = torch.device("cpu")


@pytest.mark.parametrize("binarisation", ["none", "dynamic"])
def test_pixels_do_not_depend_on_the_block(make_images, binarisation):
    images = make_images(50, binarisation=binarisation)
    whole = images.pixels(slice(None), CPU)
    for size in (1, 7, 50, 1000):
        assert torch.equal(torch.cat(list(images.blocks(size, CPU, "reading"))), whole)


def test_grey_pixels_are_bytes_over_255(make_images):
    images = make_images(5)
    torch.testing.assert_close(images.pixels(slice(2, 4), CPU), images.stored[2:4] / 255)


def test_dynamic_binarisation_is_drawn_by_the_grey_level(make_images):
    images = make_images(4000, binarisation="dynamic")
    pixels = images.pixels(slice(None), CPU)
    assert set(pixels.unique().tolist()) == {0.0, 1.0}
    grey = images.stored / 255
    for low in (0.0, 0.25, 0.5, 0.75):
        chosen = (grey >= low) & (grey < low + 0.25)
        assert pixels[chosen].mean() == pytest.approx(grey[chosen].mean().item(), abs=0.03)


def test_equal_images_are_drawn_each_for_itself(make_images):
    images = make_images(2, binarisation="dynamic", shape=(1, 8, 8))
    images.stored[:] = 128
    first, second = images.pixels(slice(None), CPU)
    assert not torch.equal(first, second)


def test_the_draw_is_the_seeds(make_dataset):
    dataset = make_dataset(binarisation="dynamic")
    first, again, other = (
        measured_images(dataset, "test", seed).pixels(slice(None), CPU) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_empty_split_is_named(make_dataset):
    dataset = make_dataset(test=torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"test split is empty.*data\.test_fraction"):
        measured_images(dataset, "test", 0)


def test_nothing_is_shown_where_there_is_no_terminal(make_images, capsys):
    list(make_images(10).blocks(1, CPU, "reading"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("binarisation", ["none", "dynamic"])
def test_a_part_has_the_pixels_that_it_has_in_the_whole(make_images, binarisation):
    images = make_images(10, (1, 8, 8), binarisation=binarisation)
    part, again = images.spread(5), images.spread(5).spread(2)
    whole = images.pixels(slice(None), CPU)
    assert torch.equal(part.pixels(slice(None), CPU), whole[::2])
    assert torch.equal(part.pixels(slice(1, 3), CPU), whole[2:6:2])
    assert torch.equal(again.pixels(slice(None), CPU), whole[[0, 4]])
    assert len(images.spread(50)) == 10


@given(st.integers(0, 500), st.integers(0, 600))
def test_positions_are_spread_evenly(count, kept):
    index = spread(count, kept)
    assert len(index) == min(count, kept)
    if len(index) > 1:
        steps = index.diff()
        assert steps.min() >= 1
        assert steps.max() - steps.min() <= 1
        assert index[0] == 0
        assert index[-1] < count


def test_blocks_are_gathered_as_they_are():
    means, rates = torch.randn(10), torch.randn(10, 3, dtype=torch.float64)
    found = gathered(zip(means.split(4), rates.split(4), strict=True), 10)
    assert [part.dtype for part in found] == [torch.float32, torch.float64]
    assert torch.equal(found[0], means)
    assert torch.equal(found[1], rates)


@pytest.mark.parametrize("count", [9, 11, 12])
def test_rows_other_than_announced_are_refused(count):
    with pytest.raises(ValueError, match=f"expected {count}$"):
        gathered(((part,) for part in torch.randn(10).split(3)), count)


def measures(vae, images):
    """Take all measures that use the encoder."""
    how = {"batch_size": 64, "seed": 0}
    parts = elbo_parts(vae, images, samples=3, **how)
    moments = posterior_moments(vae, images, batch_size=32)
    return [
        parts.distortion,
        parts.rate,
        importance_weighted_nll(vae, images, samples=5, **how).mean,
        calibrate(vae, images, **how).sigma,
        reconstruction_quality(vae, images, batch_size=50).rmse,
        moments.mean.sum().item(),
        moments.std.sum().item(),
    ]


@pytest.mark.parametrize("binarisation", ["none", "dynamic"])
def test_encoded_once_all_measures_are_the_same(make_vae, make_images, binarisation):
    vae, images = make_vae(), make_images(150, (1, 8, 8), binarisation=binarisation)
    once = encoded(vae, images, batch_size=40)
    expected = measures(vae, images)
    calls = []
    vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    assert measures(vae, once) == pytest.approx(expected, rel=1e-5)
    assert not calls


def test_a_part_of_encoded_images_has_its_own_posteriors(make_vae, make_images):
    vae, images = make_vae(), make_images(150, (1, 8, 8))
    part = encoded(vae, images, batch_size=64).spread(30)
    expected = posterior_moments(vae, images.spread(30), batch_size=64)
    found = posterior_moments(vae, part, batch_size=7)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.std, expected.std)
