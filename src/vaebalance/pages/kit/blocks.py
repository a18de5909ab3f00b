"""What a panel is made of. Each kind of block has its macro in `blocks.html`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from vaebalance.pages.figures.charts import Chart
from vaebalance.pages.figures.colours import label_colour
from vaebalance.pages.figures.picture_sheets import Atlas, Picture


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a CSS class and what it stands for."""

    style: str
    text: str


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    kind: ClassVar[str] = "charts"
    charts: tuple[Chart, ...]
    legend: tuple[Key, ...] = ()
    is_wide: bool = False
    """One below the other, as wide as the page."""
    is_small: bool = False
    """Many beside each other, without units of their own."""


@dataclass(frozen=True)
class Label:
    """A class of images."""

    index: int
    name: str
    count: int

    @property
    def colour(self) -> str:
        """Of its points."""
        return label_colour(self.index)


@dataclass(frozen=True)
class Planes:
    """Square charts of the same images, that can be enlarged, searched by label and pointed at."""

    kind: ClassVar[str] = "planes"
    charts: tuple[Chart, ...]
    readings: tuple[str, ...]
    """One a chart."""
    labels: tuple[Label, ...]
    atlas: Atlas | None
    """Thumbnails of the points."""
    image_names: tuple[str, ...]
    """Of the points."""


@dataclass(frozen=True)
class Pair:
    """An original above its reconstruction."""

    name: str
    """Short."""
    title: str
    """In full."""
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
    """Sheets to be compared."""

    kind: ClassVar[str] = "sheets"
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True)
class Strip:
    """A row of pictures with its name."""

    name: str
    detail: str
    share: float
    """Of the longest row's bar, from 0 to 1."""
    picture: Picture


@dataclass(frozen=True)
class Strips:
    """Named rows under a common scale."""

    kind: ClassVar[str] = "strips"
    strips: tuple[Strip, ...]
    scale: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell of each names it."""

    kind: ClassVar[str] = "table"
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    """Columns of numbers."""
    is_folded: bool = False
    """Shown when the reader opens it."""
    is_titled: bool = False
    """Its caption is seen."""


@dataclass(frozen=True)
class Reading:
    """A number, what it is and how to read it."""

    name: str
    value: str
    unit: str
    beside: str
    """What to hold it against."""
    text: str


@dataclass(frozen=True)
class Readings:
    """Numbers in groups, each about the same thing."""

    kind: ClassVar[str] = "readings"
    groups: tuple[tuple[str, tuple[Reading, ...]], ...]
    """Title and numbers of each."""


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True)
class Applet:
    """A part of the page that moves by a script of its own."""

    kind: ClassVar[str] = "applet"
    markup: str
    """HTML, whose author has escaped what comes from data; its ids are its own on the page."""
    style: str
    script: str


Block = Charts | Planes | Pairs | Sheets | Strips | Table | Readings | Prose | Applet


@dataclass(frozen=True)
class Panel:
    """One question about the run and its answer."""

    anchor: str
    """Of its heading, for links."""
    short: str
    """Its name in the list of panels."""
    title: str
    reading: str
    """How to read it, in a sentence or two."""
    blocks: tuple[Block, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    """The figure as files: name -> content."""
