"""The blocks of a panel. Each kind of block has a macro in `blocks.html`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from vaebalance.pages.figures.charts import Chart
from vaebalance.pages.figures.colours import label_colour
from vaebalance.pages.figures.picture_sheets import Atlas, Picture


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a CSS class and its meaning."""

    style: str
    text: str


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    kind: ClassVar[str] = "charts"
    charts: tuple[Chart, ...]
    legend: tuple[Key, ...] = ()
    is_wide: bool = False
    """One below the other, at the width of the page."""
    is_small: bool = False
    """Many small charts in a grid, without units."""


@dataclass(frozen=True)
class Label:
    """A class of images, with the number of images in it."""

    index: int
    name: str
    count: int

    @property
    def colour(self) -> str:
        """CSS colour of the points with this label."""
        return label_colour(self.index)


@dataclass(frozen=True)
class Planes:
    """Zoomable square charts of the same images, which can be filtered by label."""

    kind: ClassVar[str] = "planes"
    charts: tuple[Chart, ...]
    readings: tuple[str, ...]
    """How to read each chart."""
    labels: tuple[Label, ...]
    atlas: Atlas | None
    """Thumbnails of the points, in their order."""
    image_names: tuple[str, ...]
    """Name of each point's image."""


@dataclass(frozen=True)
class Pair:
    """An original above its reconstruction."""

    name: str
    """Short name."""
    title: str
    """Full name."""
    picture: Picture
    distortion: str
    rate: str | None


@dataclass(frozen=True)
class Pairs:
    """Originals and reconstructions."""

    kind: ClassVar[str] = "pairs"
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Sheet:
    """Many pictures in rows and columns."""

    title: str
    picture: Picture


@dataclass(frozen=True)
class Sheets:
    """Sheets to compare."""

    kind: ClassVar[str] = "sheets"
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True)
class Strip:
    """A named row of pictures."""

    name: str
    detail: str
    share: float
    """Length of the row's bar relative to the longest, from 0 to 1."""
    picture: Picture


@dataclass(frozen=True)
class Strips:
    """Named rows of pictures with a common scale."""

    kind: ClassVar[str] = "strips"
    strips: tuple[Strip, ...]
    scale: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell of each row is its header."""

    kind: ClassVar[str] = "table"
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    """Indices of columns of numbers."""
    is_folded: bool = False
    """Whether the table is hidden until the reader opens it."""
    is_titled: bool = False
    """Whether the caption is visible."""


@dataclass(frozen=True)
class Reading:
    """A number with its name, unit and explanation."""

    name: str
    value: str
    unit: str
    beside: str
    """Reference value to compare with, or empty."""
    text: str
    """How to read the number."""


@dataclass(frozen=True)
class Readings:
    """Numbers in titled groups."""

    kind: ClassVar[str] = "readings"
    groups: tuple[tuple[str, tuple[Reading, ...]], ...]
    """Title and numbers of each group."""


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True)
class Applet:
    """An interactive part of the page with its own style and script."""

    kind: ClassVar[str] = "applet"
    markup: str
    """HTML with all data already escaped; its ids must be unique on the page."""
    style: str
    script: str


Block = Charts | Planes | Pairs | Sheets | Strips | Table | Readings | Prose | Applet


@dataclass(frozen=True)
class Panel:
    """A section of the page, which answers one question about the run."""

    anchor: str
    """Id of the section, for links."""
    short: str
    """Name in the list of panels."""
    title: str
    reading: str
    """How to read the panel, in a sentence or two."""
    blocks: tuple[Block, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    """Content of the panel's figures and tables by file name."""
