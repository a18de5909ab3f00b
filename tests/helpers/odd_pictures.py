"""200 odd pictures, equal on every call, of all formats, colour modes and faults.

Most display `QUARTERS`: red and green above, blue and white below, so their decoded pixels can be
compared with one array.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaebalance.data import picture_files as pictures

SIDE = 16
MAX_PIXELS = 100_000_000
COUNT = 200

Transpose = Image.Transpose
# EXIF orientation -> how a camera stores an upright picture, and the name of the way back.
STORED: dict[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def quarters(side: int = SIDE) -> Image.Image:
    """Return red, green, blue and white quarters."""
    pixels = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    pixels[:half, :half] = (255, 0, 0)
    pixels[:half, half:] = (0, 255, 0)
    pixels[half:, :half] = (0, 0, 255)
    pixels[half:, half:] = 255
    return Image.fromarray(pixels)


QUARTERS = np.asarray(quarters()).transpose(2, 0, 1)
"""[3, 16, 16]"""


def ramp() -> NDArray[np.uint8]:
    """Return [16, 16] with each grey level once."""
    return np.arange(256, dtype=np.uint8).reshape(16, 16)


@dataclass
class OddPictures:
    """The pictures written, and the expected result of each."""

    root: Path
    good: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    """Path -> expected reason for setting it aside."""
    ignored: Counter[str] = field(default_factory=Counter)
    pixels: dict[str, tuple[NDArray[np.uint8], int]] = field(default_factory=dict)
    """Path -> expected RGB pixels [3, 16, 16] and their tolerance."""

    @property
    def reasons(self) -> Counter[str]:
        """Count the pictures to be set aside, by reason."""
        return Counter(self.set_aside.values())

    def path(self, name: str) -> Path:
        """Return the path of `name` and create its folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(
        self,
        name: str,
        content: Image.Image | bytes,
        expected: NDArray[np.uint8] | None = None,
        tolerance: int = 0,
        **options: object,
    ) -> None:
        """Write a usable picture."""
        if isinstance(content, bytes):
            self.path(name).write_bytes(content)
        else:
            content.save(self.path(name), **options)
        self.good.append(name)
        if expected is not None:
            self.pixels[name] = (expected, tolerance)

    def spoil(self, name: str, content: bytes, reason: str) -> None:
        """Write a file that must be set aside."""
        self.path(name).write_bytes(content)
        self.set_aside[name] = reason


def write_odd_pictures(root: Path) -> OddPictures:
    """Write the pictures below `root`."""
    odd = OddPictures(root)
    parts: list[Callable[[OddPictures], None]] = [
        _orientations,
        _colour_modes,
        _deep_pictures,
        _transparency,
        _several_frames,
        _sizes,
        _names,
        _faults,
        _not_pictures,
    ]
    for part in parts:
        part(odd)
    fill = COUNT - len(odd.good) - len(odd.set_aside)
    assert fill >= 0, fill
    for index in range(fill):
        side = 17 + index
        odd.add(f"fill/{side}.png", quarters(side))
    return odd


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    """Encode a picture and return the file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16], bits: int, colour_type: int) -> bytes:
    """Encode a PNG of a depth that Pillow cannot write; `pixels` is [H, W] or [H, W, C]."""
    height, width = pixels.shape[:2]
    if bits < 8:
        flags = (pixels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = [np.packbits(row.ravel()).tobytes() for row in flags]
    else:
        rows = [row.astype(f">u{bits // 8}").tobytes() for row in pixels]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            (b"IEND", b""),
        )
    )


def tiff_of_12_bits(values: NDArray[np.uint16]) -> bytes:
    """Encode an uncompressed grey TIFF of 12 bits per pixel."""
    height, width = values.shape
    bits = (values[..., None] >> np.arange(11, -1, -1)) & 1
    body = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (277, 1), (278, height)]
    tags += [(273, 8), (279, len(body))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(body))
        + body
        + struct.pack("<H", len(tags))
        + directory
        + bytes(4)
    )


def _orientations(odd: OddPictures) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = quarters()
        if orientation in STORED:
            stored = stored.transpose(STORED[orientation])
        name = f"turned/{orientation}"
        lossy = {"quality": 100, "subsampling": 0, "exif": exif}
        odd.add(f"{name}.jpg", stored, QUARTERS, 12, **lossy)
        odd.add(f"{name}.png", stored, QUARTERS, exif=exif)
        odd.add(f"{name}.webp", stored, QUARTERS, exif=exif, lossless=True)
        odd.add(f"{name}.tif", stored, QUARTERS, tiffinfo={0x0112: orientation})
    nonsense = Image.Exif()
    nonsense[0x0112] = 99
    odd.add("turned/99.png", quarters(), QUARTERS, exif=nonsense)
    broken = encoded(quarters(), "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0MM\0*\xff\xff")
    odd.add("turned/broken exif.jpg", broken, QUARTERS, 12)


def _colour_modes(odd: OddPictures) -> None:
    formats = {
        "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
        "jpg": ("L", "RGB", "CMYK", "YCbCr"),
        "webp": ("RGB", "RGBA"),
        "bmp": ("1", "L", "P", "RGB", "RGBA"),
        "dib": ("RGB",),
        "gif": ("1", "L", "P", "RGB"),
        "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"),
    }
    grey = np.asarray(quarters().convert("L"))
    black_white = np.asarray(quarters().convert("1").convert("L"))
    for ending, modes in formats.items():
        for mode in modes:
            expected = {"1": black_white, "L": grey, "LA": grey}.get(mode)
            rgb = QUARTERS if expected is None else np.stack([expected] * 3)
            options: dict[str, object] = {}
            if ending == "jpg":
                options = {"quality": 100, "subsampling": 0}
            if ending == "webp":
                options = {"lossless": True}
            picture = quarters().convert(mode)
            if mode == "P":
                picture = quarters().quantize(4)
            tolerance = 12 if ending == "jpg" else 2 if mode == "YCbCr" else 0
            odd.add(f"modes/{ending}/{mode}.{ending}", picture, rgb, tolerance, **options)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
        picture = quarters().convert("1") if compression == "group4" else quarters()
        name = f"modes/tif/{compression}.tiff"
        odd.add(name, picture, None if compression in ("jpeg", "group4") else QUARTERS, 0,
                compression=compression)  # fmt: skip
    odd.add("modes/progressive.JPEG", quarters(), progressive=True)
    odd.add("modes/adobe cmyk.jpg", encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"),
            np.full((3, 16, 16), [[[255]], [[0]], [[0]]], np.uint8), 4)  # fmt: skip


def _deep_pictures(odd: OddPictures) -> None:
    grey = np.stack([ramp()] * 3)
    deep = ramp().astype(np.uint16) * 257
    odd.add("deep/grey16.png", Image.fromarray(deep), grey)
    odd.add("deep/grey16.tif", Image.fromarray(deep), grey)
    odd.add("deep/grey16 big endian.tif", Image.fromarray(deep.astype(">u2")), grey)
    odd.add("deep/grey12.tif", tiff_of_12_bits(np.round(ramp() * (4095 / 255)).astype(np.uint16)),
            grey)  # fmt: skip
    quarters16 = np.asarray(quarters()).astype(np.uint16) * 257
    odd.add("deep/rgb16.png", png(quarters16, 16, 2), QUARTERS)
    opaque = np.concatenate([quarters16, np.full((16, 16, 1), 65535, np.uint16)], 2)
    odd.add("deep/rgba16.png", png(opaque, 16, 6), QUARTERS)
    odd.add("deep/la16.png", png(np.stack([deep, np.full_like(deep, 65535)], 2), 16, 4), grey)
    for bits in (1, 2, 4):
        levels = ramp() >> (8 - bits)
        shown = np.stack([(levels.astype(int) * 255 // (2**bits - 1)).astype(np.uint8)] * 3)
        odd.add(f"deep/grey{bits}.png", png(levels, bits, 0), shown)
    odd.add("deep/int32 of 16 bits.tif", Image.fromarray(deep.astype(np.int32)), grey)
    odd.add("deep/int32 of 8 bits.tif", Image.fromarray(ramp().astype(np.int32)), grey)
    odd.add("deep/float unit.tif", Image.fromarray(ramp().astype(np.float32) / 255), grey)
    odd.add("deep/float bytes.tif", Image.fromarray(ramp().astype(np.float32)), grey)
    odd.add("deep/float signed.tif", Image.fromarray(ramp().astype(np.float32) * 40 - 5100), grey)
    constant = np.full((16, 16), -3, np.float32)
    odd.add("deep/float constant.tif", Image.fromarray(constant), np.zeros_like(grey))


def _transparency(odd: OddPictures) -> None:
    # Hidden under full transparency is red, which must not show.
    hidden = quarters().convert("RGBA")
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8, :8] = 0
    hidden.putalpha(Image.fromarray(alpha))
    white_corner = QUARTERS.copy()
    white_corner[:, :8, :8] = 255
    for ending in ("png", "webp", "tif"):
        odd.add(f"clear/rgba.{ending}", hidden, white_corner,
                **({"lossless": True} if ending == "webp" else {}))  # fmt: skip
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    odd.add("clear/half.png", half, np.full((3, 16, 16), 127, np.uint8))
    palette = quarters().quantize(4)
    red = int(np.asarray(palette)[0, 0])
    odd.add("clear/palette.png", palette, white_corner, transparency=red)
    odd.add("clear/palette.gif", palette, white_corner, transparency=red)
    odd.add("clear/colour key.png", quarters(), white_corner, transparency=(255, 0, 0))
    grey = Image.fromarray(ramp())
    odd.add("clear/grey key.png", grey, np.stack([np.where(ramp() == 7, 255, ramp())] * 3),
            transparency=7)  # fmt: skip


def _several_frames(odd: OddPictures) -> None:
    black = Image.new("RGB", (16, 16))
    for ending in ("gif", "png", "webp", "tif"):
        odd.add(f"frames/two.{ending}", quarters(), QUARTERS, save_all=True, append_images=[black],
                **({"lossless": True} if ending == "webp" else {}))  # fmt: skip
    phone = encoded(quarters(), "MPO", save_all=True, append_images=[black], quality=100,
                    subsampling=0)  # fmt: skip
    odd.add("frames/phone.jpg", phone, QUARTERS, 12)


def _sizes(odd: OddPictures) -> None:
    odd.add("sizes/1x1.png", Image.new("RGB", (1, 1), (9, 8, 7)),
            np.full((3, 16, 16), [[[9]], [[8]], [[7]]], np.uint8))  # fmt: skip
    # A wide picture keeps its middle.
    wide = Image.new("RGB", (48, 16), "black")
    wide.paste(quarters(), (16, 0))
    odd.add("sizes/wide.png", wide, QUARTERS)
    odd.add("sizes/tall.png", wide.transpose(Transpose.ROTATE_90),
            np.rot90(QUARTERS, 1, (1, 2)))  # fmt: skip
    odd.add("sizes/1x300.gif", Image.new("L", (1, 300), 5))
    odd.add("sizes/300x1.bmp", Image.new("L", (300, 1), 5))
    odd.add("sizes/3x5.webp", Image.new("RGB", (3, 5), "red"))
    large = quarters().resize((1600, 1600), Image.Resampling.NEAREST)
    odd.add("sizes/large.jpg", large)
    odd.add("sizes/large.png", large)


def _names(odd: OddPictures) -> None:
    for name in (
        "with space.PNG", "ünïcödé 图片 🙂.png", "new\nline.png", "a\tb.png", "'\"quoted\".png",
        "-dash.png", "back\\slash.png", "#%$&;*?.png", "x" * 240 + ".png", "two.dots.jpg.png",
        "deep/er/and/deep/er/still.png", "bidi \u202eright.png",
        os.fsdecode(b"not utf-8 \xff\xfe.png"),
    ):  # fmt: skip
        odd.add(f"names/{name}", encoded(quarters(), "PNG"), QUARTERS)
    odd.add("names/really a png.jpg", encoded(quarters(), "PNG"), QUARTERS)
    odd.add("names/really a gif.tif", encoded(quarters(), "GIF"), QUARTERS)
    odd.add("at the top.png", encoded(quarters(), "PNG"), QUARTERS)
    odd.path("names/link.png").symlink_to(odd.root / "at the top.png")
    odd.good.append("names/link.png")
    odd.path("names/loop").symlink_to(odd.root, target_is_directory=True)
    odd.path("names/elsewhere").symlink_to(odd.root / "sizes", target_is_directory=True)


def _faults(odd: OddPictures) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = Image.fromarray(noise)
    formats = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF",
               "tif": "TIFF"}  # fmt: skip
    for ending, format_name in formats.items():
        content = encoded(whole, format_name)
        odd.spoil(f"bad/empty.{ending}", b"", pictures.EMPTY)
        odd.spoil(f"bad/text.{ending}", b"Dear diary, this is no picture.\n", pictures.UNKNOWN)
        odd.spoil(f"bad/zeros.{ending}", bytes(500), pictures.UNKNOWN)
        for share in (0.01, 0.3, 0.9):
            kept = content[: max(7, int(share * len(content)))]
            odd.spoil(f"bad/cut at {share}.{ending}", kept, pictures.BROKEN)
    flipped = bytearray(encoded(quarters(64), "PNG"))
    flipped[60] ^= 0xFF
    odd.spoil("bad/flipped bit.png", bytes(flipped), pictures.BROKEN)
    nothing = np.zeros((0, 5), np.uint8)
    odd.spoil("bad/zero height.png", png(nothing, 8, 0), pictures.NO_PIXELS)
    odd.spoil("bad/zero width.gif", b"GIF89a" + struct.pack("<HHBBB", 0, 9, 0, 0, 0) + b";",
              pictures.NO_PIXELS)  # fmt: skip
    flat = bytearray(encoded(quarters(), "BMP"))
    flat[22:26] = bytes(4)
    odd.spoil("bad/zero height.bmp", bytes(flat), pictures.NO_PIXELS)
    # Two real bombs (4 kB of black; Pillow's own limit) and one that only says so.
    for side in (10_001, 20_000):
        black = png(np.zeros((1, side), np.uint8), 1, 0)
        rows = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        bomb = black[:8] + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
        )
        odd.spoil(f"bad/bomb {side}.png", bomb, pictures.TOO_LARGE)
    claim = bytearray(encoded(quarters(), "GIF"))
    claim[6:10] = struct.pack("<HH", 65535, 65535)
    odd.spoil("bad/claims much.gif", bytes(claim), pictures.TOO_LARGE)
    odd.spoil("bad/nan.tif", encoded(Image.new("F", (16, 16), float("nan")), "TIFF"),
              pictures.NOT_A_NUMBER)  # fmt: skip
    odd.spoil("bad/lab.tif", encoded(Image.new("LAB", (16, 16)), "TIFF"), pictures.NO_CONVERSION)
    odd.path("bad/dangling.png").symlink_to(odd.root / "nowhere.png")
    odd.set_aside["bad/dangling.png"] = pictures.UNREADABLE


def _not_pictures(odd: OddPictures) -> None:
    for name, kind in (
        ("notes.txt", ".txt"), ("names/Thumbs.db", ".db"), ("sizes/README", "without an ending"),
        (".DS_Store", "hidden"), ("sizes/._1x1.png", "hidden"), ("paper.pdf", ".pdf"),
        ("notes.TXT", ".txt"),
    ):  # fmt: skip
        odd.path(name).write_bytes(b"x")
        odd.ignored[kind] += 1
    hidden = odd.path(".thumbnails/small.png")
    hidden.write_bytes(encoded(quarters(), "PNG"))
    odd.ignored["hidden"] += 1  # the folder; what is in it is not looked at
    os.mkfifo(odd.path("names/pipe.png"))
    odd.ignored["pipes, sockets and devices"] += 1
