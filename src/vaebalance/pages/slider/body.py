"""The slider and its views, as a part of a page.

Without JavaScript it shows one state; with it, the state at the slider's position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from vaebalance.pages.figures.colours import MUTED, label_colour
from vaebalance.pages.figures.picture_sheets import Atlas, Picture, atlas, embed, sheet
from vaebalance.pages.kit.page import inline_json, templates
from vaebalance.pages.kit.words import number, shortened, weight
from vaebalance.pages.slider.examples import ShownImages
from vaebalance.pages.slider.facts import CurveFacts, landmarks, nearest
from vaebalance.pages.slider.motion import TENTHS, Motion, motion, packed
from vaebalance.pages.slider.states import CurveState

if TYPE_CHECKING:
    from markupsafe import Markup

SHEET_BYTES = 4_000_000  # base64 adds a third in the page
BESIDE_BYTES = 1_000_000
"""Bytes that a body takes in a page besides its sheet, at most."""
PICTURE_BYTES = 12_000
MOST_NAMES = 20  # labels in the plane's legend
NAME_LENGTH = 24
STEPS = 10_000  # of the slider, which then snaps to a state


@dataclass(frozen=True)
class Readout:
    """A state's numbers, formatted."""

    beta: str
    distortion: str
    rate: str
    total: str
    active: str
    spoken: str


@dataclass(frozen=True)
class Button:
    """A button that moves the slider to a state."""

    name: str
    state: int
    share: float
    """Position on the slider, from 0 at its left end to 1."""


def body(
    states: Sequence[CurveState],
    shown: ShownImages,
    facts: CurveFacts,
    *,
    first: int,
    heading: str = "h2",
    largest: int = SHEET_BYTES,
) -> Markup | None:
    """Render the slider, its views and their data, for a page with `style` and `script`.

    Args:
        states: states from `curve_states`, in ascending order of β.
        shown: images from `shown_images`, with the same data set and seed.
        facts: description of the curve.
        first: index of the initial state.
        heading: HTML tag of the views' headings.
        largest: maximum bytes of the pictures of all states.

    Returns:
        The markup, or None if the pictures do not fit into `largest`.

    Raises:
        UserError: a mark is outside the curve.
    """
    from markupsafe import Markup

    moving = motion(states, landmarks(states, facts))
    pictures = _sheet(states, largest)
    if pictures is None:
        return None
    readouts = [_readout(state) for state in states]
    markup = (
        templates(__package__)
        .get_template("body.html")
        .render(
            heading=heading,
            first=first,
            now=readouts[first],
            ends=[weight(float(f"{states[end].beta:.3g}")) for end in (0, -1)],
            logs=[math.log10(state.beta) for state in states],
            step=math.log10(states[-1].beta / states[0].beta) / STEPS,
            buttons=[_button(states, mark.name, nearest(states, mark)) for mark in facts.marks],
            originals=_pictures(shown.originals),
            reconstructions=_pictures(states[first].reconstructions),
            samples=_pictures(states[first].samples),
            names=shown.names,
            moving=moving,
            backdrops={
                name: Markup(getattr(moving, name).markup) for name in ("curve", "plane", "bars")
            },
            tenths=TENTHS,
            colours=[label_colour(k) if k >= 0 else MUTED for k in shown.labels.tolist()],
            legend=_legend(shown),
            description=_describe(states),
            data=Markup(inline_json(_data(states, readouts, moving, pictures))),
        )
    )
    return Markup(markup)


def style() -> str:
    """Return the style sheet of the slider, in addition to the common one."""
    return _text("slider.css")


def script() -> str:
    """Return the script of the slider."""
    return _text("slider.js")


def _data(
    states: Sequence[CurveState], readouts: Sequence[Readout], moving: Motion, pictures: Atlas
) -> dict[str, Any]:
    """Return the script's data."""
    return {
        "logs": [math.log10(state.beta) for state in states],
        "readouts": [vars(readout) for readout in readouts],
        "marker": packed(moving.marker),
        "codes": packed(moving.codes),
        "heights": packed(moving.heights),
        "active": ["".join(str(int(on)) for on in row) for row in moving.active],
        "tenths": TENTHS,
        "sheet": vars(pictures),
    }


def _sheet(states: Sequence[CurveState], largest: int) -> Atlas | None:
    """Pack the pictures of all states; each state's reconstructions come before its samples."""
    rows = [torch.from_numpy(part) for s in states for part in (s.reconstructions, s.samples)]
    return atlas(torch.cat(rows), largest)


def _pictures(images: NDArray[Any]) -> list[Picture]:
    """Embed uint8 images [N, C, H, W]."""
    pixels = torch.from_numpy(images).float() / 255
    return [embed(sheet(image[None, None]), "", PICTURE_BYTES) for image in pixels]


def _readout(state: CurveState) -> Readout:
    beta, distortion = number(state.beta, 3), number(state.distortion, 4)
    rate = number(state.rate, 4 if state.rate >= 10 else 3)
    return Readout(
        beta,
        distortion,
        rate,
        number(state.distortion + state.rate, 4),
        f"{state.active_count} of {len(state.active)}",
        f"beta = {beta}, D {distortion} nats, R {rate} nats",
    )


def _button(states: Sequence[CurveState], name: str, index: int) -> Button:
    low, high = (math.log(states[end].beta) for end in (0, -1))
    return Button(name, index, (math.log(states[index].beta) - low) / (high - low))


def _legend(shown: ShownImages) -> list[tuple[str, str]]:
    """Return colour and name of each label in the plane."""
    labels = sorted(set(shown.labels.tolist()) - {-1})
    named = [(label_colour(k), shortened(shown.label_names[k], NAME_LENGTH)) for k in labels]
    more = [] if len(named) <= MOST_NAMES else [(MUTED, f"and {len(named) - MOST_NAMES} more")]
    return named[:MOST_NAMES] + more


def _describe(states: Sequence[CurveState]) -> str:
    """Describe the curve for readers who cannot see it."""
    low, high = _readout(states[0]), _readout(states[-1])
    return (
        f"Rate–distortion curve of {len(states)} values of beta, from {low.spoken} to "
        f"{high.spoken}."
    )


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
