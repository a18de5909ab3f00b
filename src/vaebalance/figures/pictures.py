"""Images -> sheets and strips of pixels, as PNG for files and as data URIs for a page.

A pixel of a small image becomes a square of several: nothing is smoothed.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 56  # pixels a side that a small image is brought to, about
GAP = 4  # pixels between cells
TEXT = (89, 98, 109)
WEBP_QUALITIES = (90, 75, 60, 40)
THUMBNAIL_SIDES = (48, 32, 24, 16)
THUMBNAILS_AT_ONCE = 512
LARGEST_ATLAS = 4096  # pixels a side: what every browser decodes
LARGEST_SIDE = 2400  # pixels of a picture in a page


@dataclass(frozen=True)
class Picture:
    """A picture in a page."""

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Atlas:
    """Many small pictures in one: that of image i is in column i % columns, row i // columns."""

    uri: str
    columns: int
    rows: int
    width: int
    """Of a cell, pixels."""
    height: int


def sheet(images: Tensor, *, cell: int = CELL, gap: int = GAP) -> Image:
    """Images in rows and columns with transparent gaps.

    Args:
        images: [rows, columns, C, H, W] in [0, 1]; C is 1 (grey) or 3.
        cell: side in pixels to which small images are enlarged, by a whole factor.
        gap: pixels between cells.
    """
    factor = max(1, round(cell / max(images.shape[-2:])))
    pixels = to_bytes(images)
    return _tiled(pixels.repeat_interleave(factor, -2).repeat_interleave(factor, -1), gap)


def _tiled(pixels: Tensor, gap: int) -> Image:
    """Bytes [rows, columns, C, H, W] -> grey or colour with alpha."""
    from PIL import Image

    rows, columns, channels, height, width = pixels.shape
    canvas = torch.zeros(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1),
        dtype=torch.uint8,
    )
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            part = canvas[top : top + height, left : left + width]
            part[..., :channels] = pixels[row, column].permute(1, 2, 0)
            part[..., channels] = 255
    return Image.fromarray(canvas.numpy(), "LA" if channels == 1 else "RGBA")


def to_bytes(images: Tensor) -> Tensor:
    """Pixels in [0, 1] -> uint8."""
    return (images.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)


def embed(image: Image, alt: str, largest: int) -> Picture:
    """The picture as it stands in a page, in at most about `largest` bytes.

    PNG where it fits, otherwise WebP of falling quality, then of falling size.
    """
    if max(image.size) > LARGEST_SIDE:
        image = _shrunk(image, LARGEST_SIDE / max(image.size))
    kind, content = "png", png(image)
    for quality in WEBP_QUALITIES:
        if len(content) > largest:
            kind, content = "webp", _webp(image, quality)
    if len(content) > largest and min(image.size) > 64:
        return embed(_shrunk(image, 0.7), alt, largest)
    return Picture(_uri(content, kind), *image.size, alt)


def png(image: Image) -> bytes:
    """The file's content."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def on_paper(image: Image, row_names: Sequence[str] = (), header: Sequence[str] = ()) -> Image:
    """The sheet on white with a margin, for a file; names beside its rows and over its columns.

    Args:
        image: from `sheet`.
        row_names: one a row, or none.
        header: one a column, or none.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=13)
    margin = 12
    left = margin + max([0, *(math.ceil(font.getlength(name)) + 12 for name in row_names)])
    top = margin + (20 if header else 0)
    paper = Image.new("RGB", (left + image.width + margin, top + image.height + margin), "white")
    paper.paste(image.convert("RGB"), (left, top), image.getchannel("A"))
    draw = ImageDraw.Draw(paper)
    for row, name in enumerate(row_names):
        y = top + (row + 0.5) * (image.height + GAP) / len(row_names) - GAP / 2
        draw.text((left - 12, y), name, TEXT, font, anchor="rm")
    for column, name in enumerate(header):
        x = left + (column + 0.5) * (image.width + GAP) / len(header) - GAP / 2
        draw.text((x, top - 6), name, TEXT, font, anchor="mb")
    return paper


def atlas(images: Tensor, largest: int) -> Atlas | None:
    """Thumbnails of uint8 images [N, C, H, W] in at most `largest` bytes; None if they do not fit.

    Images keep their size where they can.
    """
    longest = max(images.shape[-2:])
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    for side in [longest, *(s for s in THUMBNAIL_SIDES if s < longest)]:
        if columns * side > LARGEST_ATLAS:
            continue
        small = _thumbnails(images, side)
        padding = small.new_zeros((rows * columns - len(small), *small.shape[1:]))
        tiled = _tiled(torch.cat([small, padding]).unflatten(0, (rows, columns)), gap=0)
        opaque = tiled.convert("L" if small.shape[1] == 1 else "RGB")
        for kind, content in (("png", png(opaque)), ("webp", _webp(opaque, WEBP_QUALITIES[1]))):
            if len(content) <= largest:
                height, width = small.shape[-2:]
                return Atlas(_uri(content, kind), columns, rows, width, height)
    return None


def _thumbnails(images: Tensor, side: int) -> Tensor:
    """Bytes [N, C, H, W] with the longer side `side`, a bounded number of images at a time."""
    from torch.nn.functional import interpolate

    longest = max(images.shape[-2:])
    if side == longest:
        return images
    size = [max(1, round(side * length / longest)) for length in images.shape[-2:]]
    parts = images.split(THUMBNAILS_AT_ONCE)
    return torch.cat([to_bytes(interpolate(p.float() / 255, size, mode="area")) for p in parts])


def _shrunk(image: Image, factor: float) -> Image:
    from PIL.Image import Resampling

    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Resampling.LANCZOS)


def _webp(image: Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
