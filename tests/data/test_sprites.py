"""Our sprites against geometry."""

import math
from pathlib import Path

import numpy as np
import pytest

from vaebalance.data import Sprites


def draw(sprites: Sprites) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels [N, H, W] in [0, 1], and factors [N, 5]."""
    collection = sprites.collect(Path(), max_pixels=1, workers=1)
    positions = np.arange(len(collection.paths))
    images = np.concatenate([batch.images for batch in collection.read(positions)])
    assert collection.factors is not None
    return images[:, 0] / 255, collection.factors


def test_every_combination_comes_once() -> None:
    sprites = Sprites(size=16, scales=2, orientations=3, positions=4)
    images, factors = draw(sprites)
    assert len(images) == 3 * 2 * 3 * 4 * 4
    assert len(np.unique(factors, axis=0)) == len(factors)
    collection = sprites.collect(Path(), max_pixels=1, workers=1)
    assert collection.factor_names == ("shape", "scale", "orientation", "x", "y")
    assert collection.factor_sizes == (3, 2, 3, 4, 4)
    assert collection.label_names == ("square", "ellipse", "heart")
    np.testing.assert_array_equal(collection.labels, factors[:, 0])


def test_areas_are_those_of_the_shapes() -> None:
    images, factors = draw(Sprites(size=64, scales=3, orientations=5, positions=2))
    scale = 0.5 + factors[:, 1] / 4
    radius = 16 * scale
    # A square in the circle; an ellipse of half axes 1 and ½; (x²+y²−1)³ = x²y³ shrunk by 1.425.
    heart = 3.66197 / 1.425**2
    unit_area = np.array([2, math.pi / 2, heart])[factors[:, 0]]
    np.testing.assert_allclose(images.sum((1, 2)), unit_area * radius**2, rtol=0.015)


def test_centres_are_where_the_factors_say() -> None:
    images, factors = draw(Sprites(size=32, scales=1, orientations=4, positions=5))
    symmetric = factors[:, 0] < 2  # the heart's centre of mass is not its middle
    images, factors = images[symmetric], factors[symmetric]
    line = np.arange(32) + 0.5
    mass = images.sum((1, 2))
    centre_x = (images.sum(1) * line).sum(1) / mass
    centre_y = (images.sum(2) * line).sum(1) / mass
    np.testing.assert_allclose(centre_x, 8 + 16 * factors[:, 3] / 4, atol=0.1)
    np.testing.assert_allclose(centre_y, 8 + 16 * factors[:, 4] / 4, atol=0.1)


def test_sprites_stay_inside_and_turn_about_their_middle() -> None:
    images, _ = draw(Sprites(size=32, scales=2, orientations=7, positions=1))
    assert not images[:, [0, -1]].any()
    assert not images[:, :, [0, -1]].any()
    middle = draw(Sprites(size=32, scales=2, orientations=4, positions=1))
    hearts = middle[0][(middle[1][:, 0] == 2) & (middle[1][:, 1] == 1)]
    for turned in range(4):
        quarter_turns = np.rot90(hearts[0], -turned)  # y points down: angles go clockwise
        np.testing.assert_allclose(hearts[turned], quarter_turns, atol=2 / 64 + 1e-9)


def test_symmetric_orientations_are_equal_to_the_bit() -> None:
    images, factors = draw(Sprites(size=24, scales=1, orientations=12, positions=2))
    for shape, distinct in ((0, 3), (1, 6), (2, 12)):
        same_place = (factors[:, 0] == shape) & (factors[:, 3] == 1) & (factors[:, 4] == 0)
        assert len(np.unique(images[same_place], axis=0)) == distinct


def test_all_positions_of_dsprites_differ_even_at_the_smallest_size() -> None:
    images, factors = draw(Sprites(size=8, scales=1, orientations=1, positions=32))
    squares = images[factors[:, 0] == 0]
    assert len(np.unique(squares, axis=0)) == 32 * 32


@pytest.mark.parametrize("size", [8, 33, 64])
def test_white_on_black_with_grey_edges(size: int) -> None:
    images, _ = draw(Sprites(size=size, scales=2, orientations=3, positions=2))
    assert images.min() == 0
    assert images.max() == 1
    assert 0 < ((images > 0) & (images < 1)).mean() < 0.2
