"""Decoding of one picture file to a square of pixels, or the reason why it is set aside."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset(
    f".{ending}"
    for ending in ("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "gif", "tif")
) | {".tiff"}
"""Extensions, in lower case, of picture files."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF")
"""Decoders that may run, whatever a file's extension. None of them starts another program."""
SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8", b"RIFF", b"BM", b"GIF8", b"II*", b"II+", b"MM\0")
"""First bytes of files in those formats."""
PILLOW_LIMIT = 178_956_970
"""Number of pixels from which Pillow refuses a picture as a decompression bomb."""
TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

EMPTY = "empty file"
UNREADABLE = "file cannot be opened"
UNKNOWN = "not a picture of a known format"
BROKEN = "broken or truncated"
NO_PIXELS = "zero width or height"
TOO_LARGE = "more than data.max_pixels pixels"
NOT_A_NUMBER = "pixels that are not numbers"
NO_CONVERSION = "colour space that cannot be converted"

DECODER_FAULTS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""Exceptions that Pillow's decoders raise on corrupt files."""


class Recipe(NamedTuple):
    """How to turn a picture into a square."""

    size: int
    """Side in pixels."""
    channels: Literal[1, 3]
    """1 for grey (ITU-R 601 luma), 3 for RGB."""
    background: Literal["white", "black"]
    """Colour behind transparent pixels."""
    max_pixels: int
    """Largest number of pixels to decode."""


class Picture(NamedTuple):
    """Result of decoding one file."""

    pixels: NDArray[np.uint8] | None
    """[C, size, size]; None if the picture is set aside."""
    width: int
    """Width as displayed, before resizing; 0 if unknown."""
    height: int
    reason: str | None
    """Why the picture is set aside; None for a usable one."""


class _SetAsideError(Exception):
    """Signals that a picture is set aside, with the reason and the size if known."""

    def __init__(self, reason: str, size: tuple[int, int] = (0, 0)) -> None:
        super().__init__(reason)
        self.reason, self.size = reason, size


def read_picture(path: str, recipe: Recipe) -> Picture:
    """Decode the first frame of a file, scale it to cover the square and crop its centre."""
    try:
        _look_at_file(path)
        image, (width, height) = _decode(path, recipe)
        orientation = _orientation(image)
        if orientation in TURNED:
            width, height = height, width
        return Picture(_square(image, orientation, recipe), width, height, None)
    except _SetAsideError as error:
        return Picture(None, *error.size, error.reason)


def _look_at_file(path: str) -> None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (a path may contain bytes that are not text)
            empty = os.fstat(file.fileno()).st_size == 0
    except OSError as error:
        raise _SetAsideError(UNREADABLE) from error
    if empty:
        raise _SetAsideError(EMPTY)


def _decode(path: str, recipe: Recipe) -> tuple[Image.Image, tuple[int, int]]:
    """Return the first frame and the size stated in the file's header."""
    from PIL import Image, UnidentifiedImageError

    size = (0, 0)
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd but readable files, and about large ones (see max_pixels).
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                size = image.size
                if image.width * image.height > recipe.max_pixels:
                    raise _SetAsideError(TOO_LARGE, size)
                # Decode a JPEG at a fraction of its size, but at least twice the size needed.
                image.draft(None, (2 * recipe.size, 2 * recipe.size))
                image.load()
                return image, size
    except UnidentifiedImageError as error:
        raise _SetAsideError(_why_unidentified(path)) from error
    except Image.DecompressionBombError as error:
        raise _SetAsideError(TOO_LARGE, size) from error
    except DECODER_FAULTS as error:
        raise _SetAsideError(BROKEN, size) from error


def _why_unidentified(path: str) -> str:
    """Distinguish a corrupt picture from a file that is not a picture."""
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(26).ljust(26, b"\xff")
    sides = {b"\x89PNG": (head[16:20], head[20:24]), b"GIF8": (head[6:8], head[8:10])}
    sides[b"BM"] = (head[18:22], head[22:26])
    for signature, pair in sides.items():
        if head.startswith(signature) and any(not any(side) for side in pair):
            return NO_PIXELS
    return BROKEN if head.startswith(SIGNATURES) else UNKNOWN


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 is upright.

    (Pillow rotates a TIFF by itself and then drops its orientation.)
    """
    try:
        orientation = image.getexif().get(0x0112, 1)
    except DECODER_FAULTS:
        return 1  # A picture with corrupt metadata is still usable.
    return orientation if orientation in range(1, 9) else 1


def _square(image: Image.Image, orientation: int, recipe: Recipe) -> NDArray[np.uint8]:
    """Scale, crop and rotate a picture to [C, size, size], with antialiasing."""
    from PIL import Image, ImageOps

    flat = _flatten(_eight_bits(image), recipe.background)
    flat = flat.convert("L" if recipe.channels == 1 else "RGB")
    square = ImageOps.fit(flat, (recipe.size, recipe.size), Image.Resampling.BICUBIC)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    pixels = np.asarray(square if turn is None else square.transpose(turn), np.uint8)
    return pixels[None] if recipe.channels == 1 else pixels.transpose(2, 0, 1)


def _flatten(image: Image.Image, background: str) -> Image.Image:
    """Composite a transparent picture onto the background."""
    from PIL import Image

    if image.mode == "LAB":
        raise _SetAsideError(NO_CONVERSION, image.size)
    if not image.has_transparency_data:
        return image
    if image.mode == "La":
        image = image.convert("LA")  # premultiplied grey has no direct conversion to RGBA
    return Image.alpha_composite(
        Image.new("RGBA", image.size, background), image.convert("RGBA")
    ).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey levels of 16 bits or more to 8 bits, keeping black and white.

    (Pillow's own conversion clips them. It already reads 16-bit colours as 8-bit ones.)
    """
    from PIL import Image

    if not (image.mode in ("I", "F") or image.mode.startswith("I;")):
        return image
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise _SetAsideError(NOT_A_NUMBER, image.size)
    low, high = _black_and_white(image, values)
    return Image.fromarray(np.round((values - low) * (255 / (high - low))).astype(np.uint8))


def _black_and_white(image: Image.Image, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the values that represent black and white.

    The bit depth determines them for 12-bit and 16-bit integers. For 32-bit pictures, the range is
    the first of 0 to 1 (real numbers only), 0 to 255 and 0 to 65535 that contains every value, else
    the range of the values.
    """
    if image.mode.startswith("I;"):
        bits = getattr(image, "tag_v2", {}).get(258)
        return 0.0, 4095.0 if bits == (12,) else 65535.0
    low, high = float(values.min()), float(values.max())
    whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    for white in whites:
        if low >= 0 and high <= white:
            return 0.0, white
    return low, high if high > low else low + 1.0
