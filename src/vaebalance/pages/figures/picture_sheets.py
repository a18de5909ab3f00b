"""Sheets and strips of images, as PNG and SVG files and as data URIs for a page.

Small images are enlarged by whole factors without smoothing.
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

CELL = 56  # approximate side in pixels to which a small image is enlarged
GAP = 4  # pixels between cells
MARGIN = 12  # pixels around a sheet on paper
NAME_LENGTH = 40  # characters of a row's name
TEXT = (89, 98, 109)
WEBP_QUALITIES = (90, 75, 60, 40)
THUMBNAIL_SIDES = (48, 32, 24, 16)
THUMBNAILS_AT_ONCE = 512
LARGEST_ATLAS = 4096  # pixels per side that every browser decodes
LARGEST_SIDE = 2400  # pixels per side of a picture in a page


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with its size in pixels and alternative text."""

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Atlas:
    """Thumbnails in one picture: image i is in column i % columns, row i // columns."""

    uri: str
    columns: int
    rows: int
    width: int
    """Width of a cell in pixels."""
    height: int


def sheet(images: Tensor, *, cell: int = CELL, gap: int = GAP) -> Image:
    """Tile images in rows and columns with transparent gaps.

    Args:
        images: [rows, columns, C, H, W] in [0, 1]; C is 1 (grey) or 3.
        cell: approximate side in pixels to which small images are enlarged, by a whole factor.
        gap: pixels between cells.
    """
    factor = max(1, round(cell / max(images.shape[-2:])))
    pixels = to_bytes(images)
    return _tiled(pixels.repeat_interleave(factor, -2).repeat_interleave(factor, -1), gap)


def _tiled(pixels: Tensor, gap: int) -> Image:
    """Tile uint8 images [rows, columns, C, H, W] into a grey or colour picture with alpha."""
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
    """Convert pixels in [0, 1] to uint8."""
    return (images.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)


def embed(image: Image, alt: str, largest: int) -> Picture:
    """Encode the picture for a page in about `largest` bytes at most.

    It is PNG if that fits, otherwise WebP of decreasing quality, then of decreasing size.
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
    """Encode the image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def on_paper(image: Image, row_names: Sequence[str] = (), header: Sequence[str] = ()) -> Image:
    """Draw the sheet on white with a margin and names beside its rows and above its columns.

    Args:
        image: picture from `sheet`.
        row_names: one name per row, or empty.
        header: one name per column, or empty.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, place = ImageFont.load_default(size=13), _layout(image, row_names, header)
    paper = Image.new("RGB", (place.width, place.height), "white")
    paper.paste(image.convert("RGB"), (place.left, place.top), image.getchannel("A"))
    draw = ImageDraw.Draw(paper)
    for x, y, name in place.rows:
        draw.text((x, y), name, TEXT, font, anchor="rm")
    for x, y, name in place.columns:
        draw.text((x, y), name, TEXT, font, anchor="mb")
    return paper


def files(
    name: str, image: Image, row_names: Sequence[str] = (), header: Sequence[str] = ()
) -> dict[str, bytes]:
    """Return the sheet on paper as PNG and SVG, by file name."""
    return {
        f"{name}.png": png(on_paper(image, row_names, header)),
        f"{name}.svg": svg(image, row_names, header),
    }


def svg(image: Image, row_names: Sequence[str] = (), header: Sequence[str] = ()) -> bytes:
    """Return the sheet on paper as SVG: names as text, pictures as unsmoothed pixels."""
    place = _layout(image, row_names, header)
    font = 'font-family="sans-serif" font-size="13" fill="#{:02x}{:02x}{:02x}"'.format(*TEXT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {place.width} {place.height}">',
        f'<image x="{place.left}" y="{place.top}" width="{image.width}" height="{image.height}" '
        f'style="image-rendering:pixelated" href="{_uri(png(image), "png")}"/>',
    ]
    texts = [(*at, "end", "middle") for at in place.rows]
    texts += [(*at, "middle", "auto") for at in place.columns]
    parts += [
        f'<text x="{x:.6g}" y="{y:.6g}" {font} text-anchor="{anchor}" '
        f'dominant-baseline="{base}">{_plain(name)}</text>'
        for x, y, name, anchor, base in texts
    ]
    return "\n".join([*parts, "</svg>\n"]).encode()


def _plain(text: str) -> str:
    """Escape text for XML and replace unprintable characters by spaces."""
    allowed = "".join(c if c.isprintable() else " " for c in text)
    return allowed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True)
class _Layout:
    """Positions of a sheet and its names on paper, in pixels."""

    width: int
    height: int
    left: int
    top: int
    rows: list[tuple[float, float, str]]
    """x and y of each name's right end, and the name."""
    columns: list[tuple[float, float, str]]
    """x and y of each name's bottom centre, and the name."""


def _layout(image: Image, row_names: Sequence[str], header: Sequence[str]) -> _Layout:
    from PIL import ImageFont

    font = ImageFont.load_default(size=13)
    row_names = [n if len(n) <= NAME_LENGTH else n[: NAME_LENGTH - 1] + "…" for n in row_names]
    left = MARGIN + max([0, *(math.ceil(font.getlength(name)) + 12 for name in row_names)])
    top = MARGIN + (20 if header else 0)
    step_y = (image.height + GAP) / max(len(row_names), 1)
    step_x = (image.width + GAP) / max(len(header), 1)
    return _Layout(
        left + image.width + MARGIN,
        top + image.height + MARGIN,
        left,
        top,
        [(left - 12, top + (k + 0.5) * step_y - GAP / 2, n) for k, n in enumerate(row_names)],
        [(left + (k + 0.5) * step_x - GAP / 2, top - 6, n) for k, n in enumerate(header)],
    )


def atlas(images: Tensor, largest: int) -> Atlas | None:
    """Pack thumbnails of uint8 images [N, C, H, W] into at most `largest` bytes.

    Images keep their size if that fits.

    Returns:
        The atlas, or None if even the smallest thumbnails do not fit.
    """
    longest = max(images.shape[-2:])
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    for side in [longest, *(s for s in THUMBNAIL_SIDES if s < longest)]:
        if columns * side > LARGEST_ATLAS:
            continue
        small = thumbnails(images, side)
        padding = small.new_zeros((rows * columns - len(small), *small.shape[1:]))
        tiled = _tiled(torch.cat([small, padding]).unflatten(0, (rows, columns)), gap=0)
        opaque = tiled.convert("L" if small.shape[1] == 1 else "RGB")
        for kind, content in (("png", png(opaque)), ("webp", _webp(opaque, WEBP_QUALITIES[1]))):
            if len(content) <= largest:
                height, width = small.shape[-2:]
                return Atlas(_uri(content, kind), columns, rows, width, height)
    return None


def thumbnails(images: Tensor, side: int) -> Tensor:
    """Resize uint8 images [N, C, H, W] in batches so that their longer side is `side`."""
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
