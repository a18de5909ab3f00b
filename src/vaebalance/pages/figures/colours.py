"""The colours of charts and pages, light and dark.

Charts name colours as CSS variables, so that they follow a page's colour scheme; files use the
light palette. The contrast with the paper is at least 4.5 for text and 3 for marks (WCAG 2.2 AA).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

INK = "var(--ink)"
MUTED = "var(--muted)"
RULE = "var(--rule)"
PAPER = "var(--paper)"
DISTORTION = "var(--distortion)"
RATE = "var(--rate)"
TOTAL = "var(--total)"

LABEL_COLOURS = 10
"""With more labels than this, some share a colour and differ in shape."""


@dataclass(frozen=True)
class Palette:
    """Hex colours for one scheme."""

    paper: str
    """Background."""
    raised: str
    """Background of slightly emphasised elements."""
    ink: str
    """Text."""
    muted: str
    """Secondary text, axes, inactive latents."""
    rule: str
    """Hairlines."""
    distortion: str
    """D, everywhere."""
    rate: str
    """R, everywhere."""
    total: str
    """D + R."""
    labels: tuple[str, ...]
    """Classes; `LABEL_COLOURS` colours."""

    def variables(self) -> dict[str, str]:
        """Return the colours by CSS custom property."""
        plain = {f"--{name}": value for name, value in asdict(self).items() if name != "labels"}
        return plain | {f"--label-{index}": value for index, value in enumerate(self.labels)}


LIGHT = Palette(
    paper="#fcfbf8",
    raised="#f4f2ec",
    ink="#1c2127",
    muted="#59626d",
    rule="#dedcd5",
    distortion="#1d62b4",
    rate="#bf4310",
    total="#6a3fb0",
    labels=(
        "#2563c4",
        "#d05408",
        "#2f8a3e",
        "#c81e4a",
        "#7b46c9",
        "#8a5a2b",
        "#d6509d",
        "#6b7280",
        "#857f00",
        "#0b8798",
    ),
)
DARK = Palette(
    paper="#15181c",
    raised="#1e2227",
    ink="#e9ebee",
    muted="#a2abb5",
    rule="#31373e",
    distortion="#74b2f5",
    rate="#ff9e70",
    total="#bda2ff",
    labels=(
        "#6ea8ff",
        "#ff9d5c",
        "#6fcf7c",
        "#ff7088",
        "#b794ff",
        "#cf9f6f",
        "#ff8ccb",
        "#a7b0bd",
        "#d3cf4a",
        "#4fd0e0",
    ),
)


def label_colour(label: int) -> str:
    """Return the CSS colour of a class."""
    return f"var(--label-{label % LABEL_COLOURS})"


def style_sheet() -> str:
    """Return the CSS variables: dark on screen if the reader prefers it, otherwise light."""
    return (
        f":root{{color-scheme:light dark;{_declarations(LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_declarations(DARK)}}}}}\n"
    )


def resolved(value: Any, palette: Palette) -> Any:
    """Return a specification, or a part of one, with CSS variables replaced by hex colours."""
    colours = {f"var({name})": colour for name, colour in palette.variables().items()}
    return _replaced(value, colours)


def _replaced(value: Any, colours: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(part, colours) for key, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, colours) for part in value]
    return colours.get(value, value) if isinstance(value, str) else value


def _declarations(palette: Palette) -> str:
    return ";".join(f"{name}:{value}" for name, value in palette.variables().items())
