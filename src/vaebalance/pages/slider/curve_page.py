"""The curve's page with the slider, its animation, and the states for a report's slider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance import tracking
from vaebalance.base.provenance import read_provenance
from vaebalance.curve.chosen_beta import best_of, knee_of
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.saved_curve import FOLDER, load_curve, read_rows
from vaebalance.curve.trace import CurveRow, validation_rows
from vaebalance.data import Dataset, open_dataset
from vaebalance.pages.slider.animation import write_curve_animation
from vaebalance.pages.slider.examples import shown_images
from vaebalance.pages.slider.facts import CurveFacts, Mark
from vaebalance.pages.slider.saved_states import FILE, save_states
from vaebalance.pages.slider.slider_page import write_curve_page
from vaebalance.pages.slider.states import curve_states
from vaebalance.settings import SliderSettings, load

PREPARED = Path("data/prepared")
PAGE = "index.html"
ANIMATION = "curve.gif"
STATES = 60
"""Positions of the slider; a continuation has its own number."""
MEASURED = 1000
"""Test images, at most, on which D and R of a state are measured: measuring all of them at 60 β
would take as long as tracing the curve."""
HOW = {
    True: "One model, conditioned on β and trained once; each position of the slider is that model "
    "at another β.",
    False: "One model, trained once from low to high β; each position of the slider is its state "
    "at that β.",
}


def draw_prepared() -> Path:
    """Draw the pages of the curve on disk, as params.yaml and the prepared data have it.

    Raises:
        UserError: as `draw`, or the settings or the data are wrong.
    """
    return draw(open_dataset(PREPARED), load(SliderSettings).seed)


def draw(dataset: Dataset, seed: int) -> Path:
    """Draw the pages of the curve on disk, log them to its run, and return the page.

    Raises:
        UserError: there is no curve, or its files are damaged.
    """
    rows = validation_rows(read_rows(FOLDER))
    with tracking.curve(read_provenance(FOLDER)) as tracker:
        show(FOLDER, load_curve(FOLDER), rows, dataset, seed)
        tracker.log_artifacts(FOLDER, tracking.CURVE_FOLDER)
    return FOLDER / PAGE


def show(
    folder: Path, curve: AbstractCurve, rows: Sequence[CurveRow], dataset: Dataset, seed: int
) -> None:
    """Write page, animation and states into the folder of a saved curve.

    Args:
        folder: existing folder of the curve.
        curve: curve whose models are shown.
        rows: rows traced on validation images, from which knee and best β are chosen.
        dataset: data set whose test images are shown.
        seed: seed of the run.
    """
    marks = _marks(curve, rows)
    betas = sorted({*curve.betas(STATES - len(marks)), *(mark.beta for mark in marks)})
    first = curve.model_at(betas[0])
    models = ((beta, curve.model_at(beta)) for beta in betas)
    states = curve_states(models, dataset, seed, measured=MEASURED)
    facts = CurveFacts(
        dataset.info.name,
        HOW[curve.is_continuous] + _describe_subset(len(dataset.images("test"))),
        marks,
        first.likelihood.caution(binarised=dataset.info.binarisation != "none"),
    )
    shown = shown_images(dataset, seed)
    write_curve_page(folder / PAGE, states, shown, facts)
    write_curve_animation(folder / ANIMATION, states, shown, facts)
    save_states(folder / FILE, states, shown, facts)


def _describe_subset(images: int) -> str:
    if images <= MEASURED:
        return ""
    return f" D and R are measured on {MEASURED:,} of {images:,} test images."


def _marks(curve: AbstractCurve, rows: Sequence[CurveRow]) -> tuple[Mark, ...]:
    """Return the named β; a continuation has models only at the β of its rows."""
    knee = knee_of(rows)
    marks = [] if knee is None else [Mark("knee", knee.beta)]
    marks.append(Mark("best nll", best_of(rows).beta))
    if curve.is_continuous and curve.low <= 1.0 <= curve.high:
        marks.append(Mark("β = 1", 1.0))
    return tuple(marks)
