"""Animated GIF for slides: from low β to high β and back, in an endless loop."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaebalance.base.files import replacing
from vaebalance.pages.figures.colours import LABEL_COLOURS, LIGHT
from vaebalance.pages.figures.picture_sheets import sheet
from vaebalance.pages.kit.words import number
from vaebalance.pages.slider.backdrops import SIZE
from vaebalance.pages.slider.examples import ShownImages
from vaebalance.pages.slider.facts import CurveFacts, landmarks
from vaebalance.pages.slider.motion import TENTHS, Motion, motion
from vaebalance.pages.slider.states import CurveState

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

LARGEST = 5_000_000  # bytes
SECONDS = 9.0  # approximate duration of one loop
FASTEST = 40  # ms per frame, at least
COLUMNS = 10  # of prior samples
CELL = 56  # approximate side of a picture in pixels
CHART = 0.7  # size of charts relative to the page
MARGIN, GAP, HEADING, NUMBERS = 24, 14, 18, 70  # pixels
FINE = 3  # oversampling factor of charts
DOT, MARKER = 1.8, 6  # radii, pixels
GREYS, ENTRIES = 48, 256  # greys and entries of a palette


@dataclass(frozen=True)
class _Fonts:
    large: FreeTypeFont
    small: FreeTypeFont


def write_curve_animation(
    path: Path, states: Sequence[CurveState], shown: ShownImages, facts: CurveFacts
) -> None:
    """Write the animation, all or nothing; the same arguments give the same bytes.

    If all states would take more than 5 MB, only every second, third, … state is shown.

    Args:
        path: path of the GIF.
        states: states from `curve_states`, in ascending order of β.
        shown: images from `shown_images`, with the same data set and seed.
        facts: description of the curve.

    Raises:
        UserError: a mark is outside the curve.
    """
    content = animation(states, shown, facts)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def animation(states: Sequence[CurveState], shown: ShownImages, facts: CurveFacts) -> bytes:
    """Render the GIF."""
    from PIL.Image import Dither

    moving = motion(states, landmarks(states, facts))
    backdrops = _backdrops(moving)
    frames = [_frame(states, k, shown, facts, moving, backdrops) for k in range(len(states))]
    palette = _palette(frames, is_grey=shown.originals.shape[1] == 1)
    indexed = [frame.quantize(palette=palette, dither=Dither.NONE) for frame in frames]
    content = b""
    for stride in range(1, len(states)):
        content = _gif(indexed[::-stride][::-1])
        if len(content) <= LARGEST:
            break
    return content


def _gif(frames: Sequence[Image]) -> bytes:
    """Encode the frames forwards and then backwards."""
    turn = [*frames, *frames[-2:0:-1]]
    buffer = io.BytesIO()
    turn[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=turn[1:],
        duration=max(FASTEST, round(SECONDS * 1000 / len(turn) / 10) * 10),
        loop=0,
        optimize=False,
        disposal=1,
    )
    return buffer.getvalue()


def _frame(
    states: Sequence[CurveState],
    index: int,
    shown: ShownImages,
    facts: CurveFacts,
    moving: Motion,
    backdrops: Sequence[Image],
) -> Image:
    """Draw one state: numbers on top; pictures, position on the curve and codes below."""
    from PIL import Image, ImageDraw

    state = states[index]
    curve, plane = (backdrop.copy() for backdrop in backdrops)
    _draw_marker(curve, moving, index)
    _draw_codes(plane, moving, index, shown)
    columns = (
        (
            (
                "test images, and below each its reconstruction",
                _sheet([shown.originals, state.reconstructions]),
            ),
            ("prior samples", _sheet(_split_rows(state.samples))),
        ),
        (("distortion over rate", _downscale(curve)), ("codes of test images", _downscale(plane))),
    )
    widths = [max(block.width for _, block in column) for column in columns]
    heights = [sum(block.height + HEADING + GAP for _, block in column) for column in columns]
    size = (sum(widths) + 3 * MARGIN, MARGIN + NUMBERS + max(heights))
    frame = Image.new("RGB", size, LIGHT.paper)
    draw, fonts = ImageDraw.Draw(frame), _fonts()
    _draw_numbers(draw, fonts, state, facts.title, size[0])
    left = MARGIN
    for column, width, height in zip(columns, widths, heights, strict=True):
        top, spare = MARGIN + NUMBERS, (max(heights) - height) // len(column)
        for title, block in column:
            draw.text((left, top), title, LIGHT.muted, fonts.small)
            frame.paste(block.convert("RGB"), (left, top + HEADING), block.convert("RGBA"))
            top += HEADING + block.height + GAP + spare
        left += width + MARGIN
    return frame


def _draw_numbers(
    draw: ImageDraw, fonts: _Fonts, state: CurveState, title: str, width: int
) -> None:
    """Draw the numbers at fixed positions, so that they do not jump."""
    draw.text((MARGIN, MARGIN - 8), title, LIGHT.muted, fonts.small)
    # Pillow's default font has no Greek letters.
    texts = (
        (f"beta = {number(state.beta, 3)}", LIGHT.ink),
        (f"D {number(state.distortion, 4)}", LIGHT.distortion),
        (f"R {number(state.rate, 4 if state.rate >= 10 else 3)}", LIGHT.rate),
        (f"D + R {number(state.distortion + state.rate, 4)} nats", LIGHT.total),
    )
    for place, (text, colour) in enumerate(texts):
        left = MARGIN + place * (width - 2 * MARGIN) / (len(texts) + 0.3)
        draw.text((left, MARGIN + 12), text, colour, fonts.large)


def _fonts() -> _Fonts:
    from PIL import ImageFont

    large, small = ImageFont.load_default(size=24), ImageFont.load_default(size=13)
    assert isinstance(large, ImageFont.FreeTypeFont)
    assert isinstance(small, ImageFont.FreeTypeFont)
    return _Fonts(large, small)


def _sheet(rows: Sequence[NDArray[np.uint8]]) -> Image:
    """Tile rows of pictures, shrinking those larger than a cell."""
    from torch.nn.functional import interpolate

    pixels: Tensor = torch.from_numpy(np.stack(rows)).float() / 255
    longest = max(pixels.shape[-2:])
    if longest > CELL:
        size = [max(1, round(CELL * length / longest)) for length in pixels.shape[-2:]]
        flat = interpolate(pixels.flatten(0, 1), size, mode="area")
        pixels = flat.unflatten(0, pixels.shape[:2])
    return sheet(pixels, cell=CELL, gap=3)


def _split_rows(samples: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [samples[start : start + COLUMNS] for start in range(0, len(samples), COLUMNS)]


def _backdrops(moving: Motion) -> tuple[Image, Image]:
    """Draw the static parts of the charts, `FINE` times enlarged: curve and prior circles."""
    curve, plane = _axes(), _axes()
    curve_draw, plane_draw = curve[1], plane[1]
    curve_draw.line(
        [_position(place) for place in moving.marker], LIGHT.muted, 2 * FINE, joint="curve"
    )
    if moving.has_prior:
        x, y = plane[0].width / 2, plane[0].height / 2
        low, high = moving.plane.y
        for deviations in (1, 2):
            r = deviations * plane[0].height / (high - low)
            plane_draw.ellipse(_circle_box(x, y, r), outline=LIGHT.muted, width=FINE)
    return curve[0], plane[0]


def _axes() -> tuple[Image, ImageDraw]:
    """Draw an empty chart with its two axes."""
    from PIL import Image, ImageDraw

    width, height = (round(length * CHART) * FINE for length in SIZE)
    image = Image.new("RGB", (width, height), LIGHT.paper)
    draw = ImageDraw.Draw(image)
    draw.line([(0, 0), (0, height - 1), (width, height - 1)], LIGHT.rule, 2 * FINE)
    return image, draw


def _draw_marker(curve: Image, moving: Motion, index: int) -> None:
    """Mark the state's position on the curve."""
    from PIL import ImageDraw

    x, y = _position(moving.marker[index])
    draw = ImageDraw.Draw(curve)
    draw.line([(0, y), (x, y), (x, curve.height)], LIGHT.total, FINE)
    draw.ellipse(_circle_box(x, y, MARKER * FINE), LIGHT.total)


def _draw_codes(plane: Image, moving: Motion, index: int, shown: ShownImages) -> None:
    """Draw the state's codes."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(plane)
    for code, label in zip(moving.codes[index], shown.labels.tolist(), strict=True):
        draw.ellipse(_circle_box(*_position(code), DOT * FINE), _colour(label))


def _position(tenths: NDArray[np.int16]) -> tuple[float, float]:
    """Convert a position in tenths of a page pixel to one in an enlarged chart."""
    x, y = (float(coordinate) / TENTHS * CHART * FINE for coordinate in tenths[:2])
    return x, y


def _circle_box(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return (x - radius, y - radius, x + radius, y + radius)


def _downscale(chart: Image) -> Image:
    from PIL.Image import Resampling

    return chart.resize((chart.width // FINE, chart.height // FINE), Resampling.BOX)


def _colour(label: int) -> str:
    return LIGHT.labels[label % LABEL_COLOURS] if label >= 0 else LIGHT.muted


def _palette(frames: Sequence[Image], *, is_grey: bool) -> Image:
    """Make one palette for all frames: chart colours, greys and the colours of colour images."""
    from PIL import Image

    colours = [LIGHT.paper, LIGHT.ink, LIGHT.muted, LIGHT.rule, LIGHT.distortion, LIGHT.rate]
    colours += [LIGHT.total, *LIGHT.labels]
    values = [channel for colour in colours for channel in bytes.fromhex(colour[1:])]
    values += [round(255 * k / (GREYS - 1)) for k in range(GREYS) for _ in range(3)]
    if not is_grey:
        chosen = [frames[k] for k in sorted({0, len(frames) // 2, len(frames) - 1})]
        tall = Image.new("RGB", (chosen[0].width, chosen[0].height * len(chosen)))
        for k, frame in enumerate(chosen):
            tall.paste(frame, (0, k * frame.height))
        free = ENTRIES - len(values) // 3
        values += tall.quantize(free, method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(values[: 3 * ENTRIES])
    return palette
