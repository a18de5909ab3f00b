"""Positions of the moving marks, converted back from pixels to numbers."""

import base64
import re

import numpy as np
import pytest

from vaebalance.base.errors import UserError
from vaebalance.pages.slider import backdrops
from vaebalance.pages.slider.backdrops import Landmark
from vaebalance.pages.slider.facts import CurveFacts, Mark, landmarks, nearest
from vaebalance.pages.slider.motion import TENTHS, motion, packed
from vaebalance.pages.slider.states import latents_by_rate


def values(pixels, domain, length):
    """Invert a chart's scale, from its low end."""
    return domain[0] + np.asarray(pixels) / TENTHS / length * (domain[1] - domain[0])


def test_the_marker_is_where_rate_and_distortion_are(sixty):
    moving = motion(sixty.states, [])
    curve = moving.curve
    rates = values(moving.marker[:, 0], curve.x, curve.size[0])
    distortions = values(curve.size[1] * TENTHS - moving.marker[:, 1], curve.y, curve.size[1])
    pixel = (curve.x[1] - curve.x[0]) / curve.size[0]
    np.testing.assert_allclose(rates, [s.rate for s in sixty.states], atol=0.06 * pixel)
    pixel = (curve.y[1] - curve.y[0]) / curve.size[1]
    np.testing.assert_allclose(distortions, [s.distortion for s in sixty.states], atol=0.06 * pixel)


def test_codes_lie_in_the_plane_of_the_two_latents_of_most_rate(sixty):
    moving, states = motion(sixty.states, []), sixty.states
    plane, chosen = moving.plane, latents_by_rate(states)[:2]
    assert moving.latents[:2] == tuple(chosen)
    pixel = (plane.y[1] - plane.y[0]) / plane.size[1]
    assert (plane.x[1] - plane.x[0]) / plane.size[0] == pytest.approx(pixel)  # circles are round
    for k in (0, 30, 59):
        x = values(moving.codes[k, :, 0], plane.x, plane.size[0])
        y = values(plane.size[1] * TENTHS - moving.codes[k, :, 1], plane.y, plane.size[1])
        np.testing.assert_allclose(x, states[k].mean[:, chosen[0]], atol=0.06 * pixel)
        np.testing.assert_allclose(y, states[k].mean[:, chosen[1]], atol=0.06 * pixel)
        half_axes = moving.codes[k, :, 2:] / TENTHS * pixel
        np.testing.assert_allclose(half_axes, states[k].std[:, chosen], atol=0.06 * pixel)


def test_bars_are_as_high_as_the_rates(sixty):
    moving = motion(sixty.states, [])
    order = list(moving.latents)
    for k in (0, 59):
        rates = values(moving.heights[k], moving.bars.y, moving.bars.size[1])
        np.testing.assert_allclose(rates, sixty.states[k].rate_by_latent[order], atol=0.01)
        assert (moving.active[k] == sixty.states[k].active[order]).all()


def test_an_only_latent_is_spread_evenly(one_latent):
    moving = motion(one_latent.states, [])
    assert not moving.has_prior
    assert len(np.unique(moving.codes[0, :, 1])) > 100
    assert (moving.codes[0, :, 1] == moving.codes[1, :, 1]).all()
    assert (moving.codes[..., 3] == 0).all()
    x = values(moving.codes[0, :, 0], moving.plane.x, moving.plane.size[0])
    np.testing.assert_allclose(x, one_latent.states[0].mean[:, 0], atol=0.02)


def test_numbers_survive_their_packing():
    numbers = np.array([[0, -1], [32767, -32768]], np.int16)
    found = np.frombuffer(base64.b64decode(packed(numbers)), "<i2")
    np.testing.assert_array_equal(found, numbers.ravel())


def test_backdrops_follow_the_pages_colours_and_share_no_name(sixty):
    marks = [Landmark("<knee>", 10.0, 30.0)]
    moving = motion(sixty.states, marks)
    drawn = [moving.curve, moving.plane, moving.bars]
    names = [set(re.findall(r'id="([^"]+)"', b.markup)) for b in drawn]
    assert sum(map(len, names)) == len(set().union(*names))
    for backdrop in drawn:
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b", backdrop.markup)
        assert "var(--muted)" in backdrop.markup
    assert "&lt;knee&gt;" in moving.curve.markup
    assert "<knee>" not in moving.curve.markup


def test_places_that_touch_share_a_name():
    rates, distortions = [0.0, 10.0, 10.5, 20.0], [40.0, 20.0, 19.8, 15.0]
    marks = [Landmark(f"m{k}", *at) for k, at in enumerate(zip(rates, distortions, strict=True))]
    drawn = backdrops.curve(rates, distortions, marks[::-1]).markup
    assert re.findall(r">(m[^<]*)<", drawn)[:3] == ["m0", "m1, m2", "m3"]


def test_a_curve_that_stays_in_place_has_axes_too():
    flat = backdrops.curve([3.0, 3.0], [8.0, 8.0], [])
    assert flat.x[0] < 3 < flat.x[1]
    np.testing.assert_allclose(flat.across([3.0]), [flat.size[0] / 2])
    np.testing.assert_allclose(flat.down([8.0]), [flat.size[1] / 2])


def test_a_mark_is_at_the_state_of_the_nearest_logarithm(uneven):
    states = uneven.states
    assert [round(s.beta, 4) for s in states] == [0.01, 0.0123, 8.0, 10.0]
    assert nearest(states, Mark("low", 0.0112)) == 1  # by β itself, the first state is nearest
    assert nearest(states, Mark("end", 10.0)) == 3
    assert nearest(states, Mark("knee", 0.7)) == 2
    found = landmarks(states, CurveFacts("", "", (Mark("knee", 0.7), Mark("β = 1", 1.0))))
    assert found == [Landmark("knee, β = 1", states[2].rate, states[2].distortion)]


def test_a_mark_beyond_the_curve_is_refused(uneven):
    for beta in (0.009, 11.0):
        with pytest.raises(UserError, match=r"knee at β = .* is outside the curve"):
            nearest(uneven.states, Mark("knee", beta))
