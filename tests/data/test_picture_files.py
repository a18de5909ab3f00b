"""200 odd pictures, one by one."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.odd_pictures import (
    COUNT,
    MAX_PIXELS,
    SIDE,
    OddPictures,
    quarters,
    write_odd_pictures,
)
from vaebalance.data import picture_files as pictures
from vaebalance.data.picture_files import Recipe, read_picture

RECIPE = Recipe(SIDE, 3, "white", MAX_PIXELS)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> OddPictures:
    return write_odd_pictures(tmp_path_factory.mktemp("odd"))


def read(path: Path, recipe: Recipe = RECIPE) -> pictures.Picture:
    return read_picture(str(path), recipe)


def test_every_one_is_used_or_set_aside_with_its_reason(odd: OddPictures) -> None:
    assert len(odd.good) + len(odd.set_aside) == COUNT
    found = {name: read(odd.root / name).reason for name in [*odd.good, *odd.set_aside]}
    assert found == dict.fromkeys(odd.good) | odd.set_aside
    assert len(set(Counter(found.values()))) == 9  # all eight reasons, and none


def test_pixels_are_those_displayed(odd: OddPictures) -> None:
    assert len(odd.pixels) > 100
    wrong = {}
    for name, (expected, tolerance) in odd.pixels.items():
        pixels = read(odd.root / name).pixels
        assert pixels is not None
        assert pixels.dtype == np.uint8
        error = np.abs(pixels.astype(int) - expected).max()
        if error > tolerance:
            wrong[name] = error
    assert not wrong


def test_grey_is_luma(odd: OddPictures) -> None:
    pixels = read(odd.root / "modes/png/RGB.png", RECIPE._replace(channels=1)).pixels
    assert pixels is not None
    assert pixels.shape == (1, SIDE, SIDE)
    corners = pixels[0, [0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, 255 * np.array([0.299, 0.587, 0.114, 1]), atol=1)


def test_background_shows_through(odd: OddPictures) -> None:
    for background, level in (("white", 255), ("black", 0)):
        pixels = read(odd.root / "clear/rgba.png", RECIPE._replace(background=background)).pixels
        assert pixels is not None
        assert (pixels[:, 0, 0] == level).all()


def test_size_is_as_displayed(odd: OddPictures, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    assert read(path)[1:3] == (30, 40)
    Image.new("RGB", (40, 30)).save(tmp_path / "scan.tif", tiffinfo={0x0112: 6})
    assert read(tmp_path / "scan.tif")[1:3] == (30, 40)
    assert read(odd.root / "sizes/1x300.gif")[1:3] == (1, 300)
    assert read(odd.root / "bad/bomb 10001.png")[1:] == (10_001, 10_001, pictures.TOO_LARGE)


def test_scaling_down_is_antialiased_and_keeps_the_middle(tmp_path: Path) -> None:
    stripes = np.zeros((320, 640, 3), np.uint8)
    stripes[::2] = 255  # one-pixel stripes: without antialiasing, black or white
    stripes[:, :160] = stripes[:, 480:] = 0
    for ending in ("png", "bmp"):
        path = tmp_path / f"stripes.{ending}"
        Image.fromarray(stripes).save(path)
        pixels = read(path).pixels
        assert pixels is not None
        inner = pixels[:, 2:-2, 2:-2].astype(int)  # the edges feel the black beside the square
        assert np.abs(inner - 127.5).max() <= 3


def test_a_large_jpeg_looks_as_if_it_were_fully_decoded(tmp_path: Path) -> None:
    x = np.linspace(0, 255, 2000, dtype=np.uint8)
    smooth = np.stack(np.broadcast_arrays(x[:, None], x[None, :], x[::-1, None]), 2)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    Image.open(tmp_path / "a.jpg").save(tmp_path / "a.bmp")
    fast, full = read(tmp_path / "a.jpg"), read(tmp_path / "a.bmp")
    assert fast.pixels is not None
    assert full.pixels is not None
    assert fast[1:3] == full[1:3] == (2000, 2000)
    assert np.abs(fast.pixels.astype(int) - full.pixels).max() <= 3


def test_the_same_picture_in_png_and_bmp_is_the_same(odd: OddPictures) -> None:
    one, two = read(odd.root / "modes/png/RGB.png"), read(odd.root / "modes/bmp/RGB.bmp")
    np.testing.assert_array_equal(one.pixels, two.pixels)


def test_max_pixels_counts_exactly(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", RECIPE._replace(max_pixels=256)).reason is None
    assert read(tmp_path / "a.png", RECIPE._replace(max_pixels=255)).reason == pictures.TOO_LARGE


@pytest.mark.parametrize("mode", ["La", "PA", "RGBa", "HSV", "I;16", "I;16B", "F", "CMYK", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_that_a_decoder_may_return_is_converted(mode: str, channels: int) -> None:
    square = pictures._square(Image.new(mode, (20, 30)), 6, RECIPE._replace(channels=channels))
    assert square.shape == (channels, SIDE, SIDE)
