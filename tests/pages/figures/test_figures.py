"""Figures from plain data, compared with closed forms and other libraries."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import altair as alt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.degenerate_codes import degenerate_codes
from vaebalance.pages.figures import charts
from vaebalance.pages.figures import picture_sheets as pictures
from vaebalance.pages.figures.colours import (
    DARK,
    LABEL_COLOURS,
    LIGHT,
    Palette,
    resolved,
    style_sheet,
)
from vaebalance.pages.figures.export import export, side_by_side
from vaebalance.pages.figures.planes import neighbour_plane, planes, principal_plane


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out(palette: Palette):
    for paper in (palette.paper, palette.raised):
        for text in ("ink", "muted", "distortion", "rate", "total"):
            assert contrast(getattr(palette, text), paper) >= 4.5, text
    for colour in palette.labels:
        assert contrast(colour, palette.paper) >= 3
    assert len(set(palette.labels)) == LABEL_COLOURS


def test_palettes_and_style_sheet_name_the_same_variables():
    assert LIGHT.variables().keys() == DARK.variables().keys()
    sheet = style_sheet()
    for palette in (LIGHT, DARK):
        for name, colour in palette.variables().items():
            assert f"{name}:{colour}" in sheet


def test_only_whole_values_are_colours():
    spec = {"a": ["var(--ink)", "var(--ink) ", "var(--unknown)"], "b": {"c": "var(--rate)", "d": 1}}
    assert resolved(spec, LIGHT) == {
        "a": [LIGHT.ink, "var(--ink) ", "var(--unknown)"],
        "b": {"c": LIGHT.rate, "d": 1},
    }


TABLE = {
    "epoch": [float(e) for e in range(1, 31)],
    "train/rate": [50 / e + 2 for e in range(1, 31)],
    "validation/rate": [50 / e + 3 for e in range(1, 31)],
    "pull": [0.0, float("nan"), *[10.0 ** (e % 3) for e in range(28)]],
}


def epochs_chart(**options):
    curves = [charts.Curve("rate", "R", "var(--rate)")]
    return charts.epochs("rate", "Rate R", "nats per image", TABLE, curves, 20, **options)


def latent_charts():
    records = [
        {"latent": f"z{i}", "rate": 3.0 / (i + 1), "variance": 10.0**-i, "active": i < 2}
        for i in range(4)
    ]
    return charts.rate_by_latent(records, has_rate=True, threshold=0.01)


def plane_charts(latents=2, names=("a", "b")):
    codes = np.random.default_rng(0).normal(size=(40, latents)).astype(np.float32)
    labels = [i % (len(names) + 1) - 1 for i in range(40)]
    return [
        charts.latent_plane(plane.name, plane, labels, names)
        for plane in planes(codes, has_prior=True, seed=0)
    ]


def all_charts():
    pulls = [charts.Curve("pull", "αD", "var(--distortion)")]
    pull = charts.epochs("pull", "Pull", "", TABLE, pulls, 3, logarithmic=True)
    many = plane_charts(names=tuple(f"class {i}" for i in range(25)))
    return [epochs_chart(), pull, *latent_charts(), *plane_charts(), *plane_charts(5), *many]


def test_charts_are_valid_vega_lite():
    for chart in all_charts():
        for spec in (chart.live, chart.still):
            alt.Chart.from_dict(spec, validate=True)
            json.dumps(spec, allow_nan=False)
        used = set(re.findall(r"var\((--[a-z0-9-]+)\)", json.dumps(chart.live)))
        assert used <= LIGHT.variables().keys()
        assert "var(--" not in json.dumps(side_by_side([chart], 1))


def test_epoch_chart_has_every_point_once_and_says_what_it_shows():
    chart = epochs_chart()
    points = chart.live["datasets"]["points"]
    assert len(points) == 60
    assert {p["value"] for p in points if p["split"] == "train"} == set(TABLE["train/rate"])
    assert "R train from 52 to 4.5" in chart.description
    assert "best epoch 20" in chart.description
    assert chart.live["width"] == "container"


def test_logarithmic_chart_leaves_out_what_has_no_logarithm():
    pulls = [charts.Curve("pull", "αD", "var(--distortion)")]
    chart = charts.epochs("pull", "Pull", "", TABLE, pulls, 3, logarithmic=True)
    assert len(chart.live["datasets"]["points"]) == 28


def test_a_start_that_flattens_the_rest_is_cut():
    flat = [100.0, 50.0, *np.linspace(11, 10, 28)]
    low, high = charts.visible_range([flat])
    assert low < 10
    assert 11 <= high < 50
    assert charts.visible_range([list(np.linspace(11, 10, 30))]) is None
    assert charts.visible_range([[100.0, 1.0, 1.0]]) is None
    assert charts.visible_range([[float("nan")] * 30]) is None
    assert charts.visible_range([[5.0] * 30]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=60))
def test_what_is_kept_is_in_view(values):
    shown = charts.visible_range([values])
    if shown is not None:
        later = values[len(values) // 10 :]
        assert shown[0] <= min(later)
        assert max(later) <= shown[1]


def test_active_latents_lie_above_the_threshold():
    rate, variance = latent_charts()
    assert "2 active" in rate.description
    assert "2 of 4 latents lie above the threshold 0.01" in variance.description
    assert variance.still["datasets"]["threshold"] == [{"variance": 0.01}]


def test_files_are_pictures_and_the_same_twice():
    drawn = latent_charts()
    first, second = export(drawn, 1), export(drawn, 1)
    assert first == second
    with Image.open(io.BytesIO(first["png"])) as image:
        assert image.width > 1000
        assert image.convert("RGB").getpixel((0, 0)) == tuple(bytes.fromhex(LIGHT.paper[1:]))
    assert first["svg"].startswith(b"<svg")
    assert b"Rate of each latent" in first["svg"]


def test_two_latents_are_their_own_plane():
    codes = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    (plane,) = planes(codes, has_prior=True, seed=0)
    np.testing.assert_array_equal(plane.points, codes)
    assert plane.has_prior


def test_principal_plane_is_scikit_learns_and_keeps_the_origin():
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(1)
    codes = (generator.normal(size=(500, 6)) * [3, 2, 1, 0.5, 0.2, 0.1] + 1.5) @ np.linalg.qr(
        generator.normal(size=(6, 6))
    )[0]
    plane = principal_plane(codes, has_prior=True)
    theirs = PCA(2).fit(codes)
    centred = plane.points - plane.points.mean(0)
    np.testing.assert_allclose(np.abs(centred), np.abs(theirs.transform(codes)), atol=1e-9)
    assert f"{theirs.explained_variance_ratio_[0]:.0%} of the variance" in plane.axes["x"]
    # The prior's mean stays at 0, where its circles are drawn.
    origin = theirs.transform(np.zeros((1, 6)))
    np.testing.assert_allclose(np.abs(plane.points.mean(0)), np.abs(origin[0]), atol=1e-9)


def test_prior_in_the_principal_plane_is_standard_normal():
    """The circles of 1, 2 and 3 standard deviations contain 39, 86 and 99 % of it."""
    samples = np.random.default_rng(2).normal(size=(20_000, 10))
    radius = np.linalg.norm(principal_plane(samples, has_prior=True).points, axis=1)
    for r in charts.PRIOR_RINGS:
        assert (radius < r).mean() == pytest.approx(1 - np.exp(-(r**2) / 2), abs=0.02)


def test_neighbours_keep_clusters_apart_and_repeat_themselves():
    generator = np.random.default_rng(3)
    centres = 8 * np.eye(5)[:3]
    codes = np.concatenate([c + generator.normal(size=(30, 5)) for c in centres])
    plane = neighbour_plane(codes, seed=5)
    np.testing.assert_array_equal(plane.points, neighbour_plane(codes, seed=5).points)
    groups = plane.points.reshape(3, 30, 2)
    middles = groups.mean(1)
    spread = np.linalg.norm(groups - middles[:, None], axis=2).max()
    for i in range(3):
        for j in range(i):
            assert np.linalg.norm(middles[i] - middles[j]) > spread
    assert not plane.has_prior
    assert "mean little" in plane.reading


@pytest.mark.parametrize("latents", [1, 2, 3, 7])
@pytest.mark.parametrize("has_prior", [True, False])
@pytest.mark.parametrize("count", [1, 4, 5, 40])
def test_planes_hold_all_codes_in_a_square(latents, has_prior, count):
    codes = 9 + np.random.default_rng(4).normal(size=(count, latents)).astype(np.float32)
    for plane in planes(codes, has_prior=has_prior, seed=0):
        x0, x1, y0, y1 = plane.limits
        assert x1 - x0 == pytest.approx(y1 - y0)
        assert np.isfinite(plane.points).all()
        assert plane.points.shape == (count, 2)
        assert (plane.points >= [x0, y0]).all()
        assert (plane.points <= [x1, y1]).all()
        if plane.has_prior:
            assert min(x1, y1, -x0, -y0) > 3


ROOT = Path(__file__).resolve().parents[3]
DISTINCT = {
    **dict.fromkeys(["zero", "constant", "nearly constant", "tiny", "denormal"], 1),
    **{"one outlier": 2, "two values": 2, "four values and noise": 4},
}
PLANES = """
from tests.helpers.degenerate_codes import degenerate_codes
from vaebalance.pages.figures.planes import planes
for name, codes in degenerate_codes().items():
    print(name, flush=True)
    planes(codes, has_prior=True, seed=0)
"""


def test_codes_without_spread_do_not_kill_the_process():
    done = subprocess.run([sys.executable, "-c", PLANES], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split("\n")[-2]) == (0, "huge"), done.stdout + done.stderr


@pytest.mark.parametrize("has_prior", [True, False])
@pytest.mark.parametrize("name", degenerate_codes())
def test_planes_say_what_codes_without_spread_are(name, has_prior):
    codes = degenerate_codes()[name]
    first, *others = planes(codes, has_prior=has_prior, seed=0)
    count = DISTINCT.get(name)
    assert len(others) == (count is None)
    assert ("all 360 are equal" in first.reading) == (count == 1)
    assert (f"The 360 codes have only {count} distinct values" in first.reading) == (
        count in (2, 4)
    )
    for plane in (first, *others):
        chart = charts.latent_plane(plane.name, plane, [0] * 360, ("a",))
        for x, y in ([p["x"], p["y"]] for p in chart.live["datasets"]["codes"]):
            assert plane.limits[0] <= x <= plane.limits[1]
            assert plane.limits[2] <= y <= plane.limits[3]


@pytest.mark.parametrize("latents", [1, 2])
def test_a_plane_of_few_latents_says_that_its_codes_are_the_same(latents):
    (plane,) = planes(np.full((40, latents), 0.3, np.float32), has_prior=False, seed=0)
    assert "all 40 are equal" in plane.reading
    assert plane.limits[0] < 0.3 < plane.limits[1]
    assert plane.limits[1] - plane.limits[0] > 0.1


def test_equal_codes_share_a_point_of_the_neighbour_plane():
    groups = np.arange(90) % 9
    codes = np.random.default_rng(5).normal(size=(9, 6))[groups]
    points = neighbour_plane(codes, seed=0).points
    assert len(np.unique(points, axis=0)) == 9
    np.testing.assert_array_equal(points, points[:9][groups])


def test_charts_of_constants_have_an_axis():
    curves = [charts.Curve("rate", "R", "var(--rate)")]
    table = {"epoch": [1.0, 2.0, 3.0], "rate": [5.0, 5.0, 5.0]}
    chart = charts.epochs("r", "Rate", "nats", table, curves, 2, logarithmic=True)
    (domain,) = re.findall(
        r'"domain": (\[[0-9., ]+\]), "nice": false, "type": "log"', dumped(chart)
    )
    assert json.loads(domain) == [2.5, 10.0]
    dead = [{"latent": "z0", "rate": 0.0, "variance": 0.0, "active": False}]
    bars, _ = charts.rate_by_latent(dead, has_rate=True, threshold=0.01)
    assert '"domain": [0, 1.0]' in dumped(bars)


def dumped(chart):
    return json.dumps(chart.still, sort_keys=True)


def test_charts_side_by_side_keep_their_own_layers():
    spec = json.dumps(side_by_side(plane_charts() * 2, 2))
    assert '"name": "over' not in spec


@pytest.mark.parametrize("channels", [1, 3])
def test_sheet_enlarges_by_whole_pixels_and_leaves_gaps_clear(channels):
    images = torch.rand(2, 3, channels, 5, 4)
    picture = pictures.sheet(images, cell=10, gap=3)
    pixels = np.asarray(picture)
    assert pixels.shape == (2 * 10 + 3, 3 * 8 + 2 * 3, channels + 1)
    for row in range(2):
        for column in range(3):
            part = pixels[row * 13 : row * 13 + 10, column * 11 : column * 11 + 8]
            expected = (images[row, column].permute(1, 2, 0).numpy() * 255).round()
            np.testing.assert_array_equal(part[::2, ::2, :channels], expected)
            np.testing.assert_array_equal(part[1::2, 1::2, :channels], expected)
            assert (part[..., channels] == 255).all()
    assert (pixels[10:13, :, channels] == 0).all()


def decoded(uri: str) -> Image.Image:
    kind, content = re.fullmatch(r"data:image/(png|webp);base64,(.*)", uri).groups()
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.format == kind.upper()
    return image


def test_embedded_picture_is_lossless_where_it_fits():
    image = pictures.sheet(torch.rand(1, 4, 1, 8, 8))
    picture = pictures.embed(image, "four", 100_000)
    assert decoded(picture.uri).size == (picture.width, picture.height) == image.size
    np.testing.assert_array_equal(np.asarray(decoded(picture.uri)), np.asarray(image))


@pytest.mark.parametrize("largest", [200_000, 20_000, 5_000])
def test_embedded_picture_keeps_within_its_bytes(largest):
    noise = pictures.sheet(torch.rand(4, 4, 3, 128, 128))
    picture = pictures.embed(noise, "noise", largest)
    assert len(picture.uri) * 3 / 4 < largest * 1.01 + 30
    assert picture.width == pytest.approx(picture.height, abs=1)


def test_atlas_has_each_image_in_its_place():
    images = torch.randint(0, 256, (7, 1, 6, 5), dtype=torch.uint8)
    atlas = pictures.atlas(images, 100_000)
    pixels = np.asarray(decoded(atlas.uri))
    assert pixels.shape == (atlas.rows * 6, atlas.columns * 5)
    for index, image in enumerate(images):
        row, column = divmod(index, atlas.columns)
        part = pixels[6 * row : 6 * row + 6, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(part, image[0])


def test_atlas_shrinks_and_then_gives_up():
    images = torch.randint(0, 256, (50, 3, 64, 64), dtype=torch.uint8)
    small = pictures.atlas(images, 60_000)
    assert small.width < 64
    assert len(small.uri) < 82_000
    assert pictures.atlas(images, 500) is None


def test_file_has_names_beside_rows_and_over_columns():
    image = pictures.sheet(torch.zeros(2, 3, 1, 8, 8))
    bare = pictures.on_paper(image)
    named = pictures.on_paper(image, ["first", "second"], ["−1", "0", "1"])
    assert bare.size == (image.width + 24, image.height + 24)
    assert named.width > bare.width
    assert named.height > bare.height
    assert named.getpixel((0, 0)) == (255, 255, 255)
    assert pictures.png(named) == pictures.png(named)
