"""What a person asks to be ported."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Options:
    """Command-line arguments; without a convention, show params.yaml in all of them."""

    convention: str | None
    weight: float | None
    shape: Shape | None
    latents: int | None
    batch: int | None
    rmse: float | None
    pixel_span: float | None
    write: bool
    json: bool
    list: bool
