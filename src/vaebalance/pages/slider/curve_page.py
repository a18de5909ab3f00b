"""The curve's page, with the slider, its animation, and what a report's slider shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance.curve.chosen_beta import best_of, knee_of
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.trace import CurveRow
from vaebalance.data import Dataset
from vaebalance.pages.slider.animation import write_curve_animation
from vaebalance.pages.slider.examples import shown_images
from vaebalance.pages.slider.facts import CurveFacts, Mark
from vaebalance.pages.slider.saved_states import FILE, save_states
from vaebalance.pages.slider.slider_page import write_curve_page
from vaebalance.pages.slider.states import curve_states

PAGE = "index.html"
ANIMATION = "curve.gif"
STATES = 60
"""Of the slider; a continuation has its own."""
MEASURED = 1000
"""Test images, at most, behind D and R of a state: all of them, at 60 β, take as long as the
rows of the curve."""
HOW = {
    True: "One model, conditioned on β and trained once; each position of the slider is that model "
    "at another β.",
    False: "One model, trained once from low to high β; each position of the slider is what it was "
    "at that β.",
}


def show(
    folder: Path, curve: AbstractCurve, rows: Sequence[CurveRow], dataset: Dataset, seed: int
) -> None:
    """Write page, animation and states into the folder of a saved curve.

    Args:
        folder: there already.
        curve: its models.
        rows: traced on validation images, by which knee and best are chosen.
        dataset: whose test images are shown.
        seed: of the run.
    """
    marks = _marks(curve, rows)
    betas = sorted({*curve.betas(STATES - len(marks)), *(mark.beta for mark in marks)})
    first = curve.model_at(betas[0])
    models = ((beta, curve.model_at(beta)) for beta in betas)
    states = curve_states(models, dataset, seed, measured=MEASURED)
    facts = CurveFacts(
        dataset.info.name,
        HOW[curve.is_continuous] + _of_how_many(len(dataset.images("test"))),
        marks,
        first.likelihood.caution(binarised=dataset.info.binarisation != "none"),
    )
    shown = shown_images(dataset, seed)
    write_curve_page(folder / PAGE, states, shown, facts)
    write_curve_animation(folder / ANIMATION, states, shown, facts)
    save_states(folder / FILE, states, shown, facts)


def _of_how_many(images: int) -> str:
    return f" D and R are of {MEASURED:,} of {images:,} test images." if images > MEASURED else ""


def _marks(curve: AbstractCurve, rows: Sequence[CurveRow]) -> tuple[Mark, ...]:
    """The β that have names; of a continuation only where it has models."""
    knee = knee_of(rows)
    found = [] if knee is None else [Mark("knee", knee.beta)]
    found.append(Mark("best nll", best_of(rows).beta))
    if curve.is_continuous and curve.low <= 1.0 <= curve.high:
        found.append(Mark("β = 1", 1.0))
    return tuple(found)
