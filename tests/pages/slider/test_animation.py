"""The animation for slides."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers.curve_examples import noisy
from vaebalance.pages.slider.animation import LARGEST, animation, write_curve_animation
from vaebalance.pages.slider.motion import TENTHS


def frames_of(content: bytes) -> list[np.ndarray]:
    """Return the frames of a GIF as RGB."""
    image = Image.open(io.BytesIO(content))
    frames = []
    for k in range(image.n_frames):
        image.seek(k)
        frames.append(np.asarray(image.convert("RGB")).astype(int))
    return frames


def test_it_goes_there_and_back_without_an_end(sixty, tmp_path):
    write_curve_animation(tmp_path / "curve.gif", sixty.states, sixty.shown, sixty.facts)
    content = (tmp_path / "curve.gif").read_bytes()
    assert len(content) < LARGEST
    image = Image.open(io.BytesIO(content))
    assert image.format == "GIF"
    assert image.info["loop"] == 0
    assert image.info["duration"] >= 40
    found = frames_of(content)
    assert len(found) == 2 * 60 - 2
    for k in range(1, 59):
        assert (found[k] == found[-k]).all()


def test_each_frame_shows_its_own_numbers_and_pictures(uneven):
    found = frames_of(animation(uneven.states, uneven.shown, uneven.facts))
    assert len(found) == 6
    numbers = [frame[:90] for frame in found[:4]]
    for a in range(4):
        for b in range(a):
            assert (numbers[a] != numbers[b]).any()
            assert (found[a][90:] != found[b][90:]).any()


def test_pictures_are_those_of_the_state(uneven):
    """8×8 pictures are enlarged seven times; their greys match up to the palette's step."""
    found = frames_of(animation(uneven.states, uneven.shown, uneven.facts))
    top, left, step = 24 + 70 + 18, 24, 56 + 3
    for frame, state in zip(found[:4], uneven.states, strict=True):
        for cell in (0, 9):
            start = left + cell * step
            original = frame[top + 3 : top + 56 : 7, start + 3 : start + 56 : 7]
            below = frame[top + step + 3 : top + step + 56 : 7, start + 3 : start + 56 : 7]
            expected = uneven.shown.originals[cell, 0]
            np.testing.assert_allclose(original.mean(-1), expected, atol=7)
            np.testing.assert_allclose(below.mean(-1), state.reconstructions[cell, 0], atol=7)


def test_the_marker_moves_with_the_state(uneven):
    from vaebalance.pages.figures.colours import LIGHT
    from vaebalance.pages.slider.animation import CHART
    from vaebalance.pages.slider.motion import motion

    total = np.array(list(bytes.fromhex(LIGHT.total[1:])))
    moving = motion(uneven.states, [])
    found = frames_of(animation(uneven.states, uneven.shown, uneven.facts))
    left = 24 + 10 * 56 + 9 * 3 + 24
    for frame, place in zip(found[:4], moving.marker, strict=True):
        x, y = place / TENTHS * CHART
        assert (frame[round(24 + 70 + 18 + y), round(left + x)] == total).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 40, 64)])
def test_noise_takes_fewer_states_and_less_than_five_megabytes(shape, sixty):
    states, shown = noisy(sixty.states, sixty.shown, shape)
    content = animation(states, shown, sixty.facts)
    assert len(content) <= LARGEST
    found = frames_of(content)
    assert 4 <= len(found) < 2 * 60 - 2


def test_the_same_states_give_the_same_bytes(uneven):
    first = animation(uneven.states, uneven.shown, uneven.facts)
    assert animation(uneven.states, uneven.shown, uneven.facts) == first
