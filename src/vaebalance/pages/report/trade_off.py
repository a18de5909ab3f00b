"""The slider over β within a report: the curve of the run's images, model and likelihood.

What MLflow knows of curves comes in as plain data, so that a report is a function of its inputs.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import Provenance
from vaebalance.pages.kit.blocks import Applet, Block, Panel, Prose
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.words import number, shortened, weight
from vaebalance.pages.report.inputs import Inputs
from vaebalance.pages.slider.body import BESIDE_BYTES, SHEET_BYTES, body, script, style
from vaebalance.pages.slider.facts import Mark, is_within, nearest
from vaebalance.pages.slider.saved_states import FILE, SavedCurve, load_states
from vaebalance.pages.slider.states import CurveState
from vaebalance.tracking import CurveSummary
from vaebalance.tracking.points import flatten, param_text

Fetch = Callable[[str, str, Path], Path | None]
"""A run's id, a file of its curve, a folder -> the file there; None: the run does not have it."""

ANCHOR, TITLE = "trade-off", "The whole trade-off"
SAME = ("model", "likelihood")
NAME_LENGTH = 60
HEADER = ("β", "D", "R", "D + R", "active latents")
HOW = "Run make curve: one training gives all β, and this page a slider over them."
AGAIN = "Run dvc repro --force curve/dvc.yaml, and then make curve for this page."


@dataclass(frozen=True)
class KnownCurve:
    """A curve of a run's images, model and likelihood."""

    name: str
    """In MLflow."""
    same_penalty: bool
    """As the run's."""
    saved: SavedCurve | None
    """What is to be seen; None: it is not there, or damaged."""


def known_curve(
    provenance: Provenance, curves: Sequence[CurveSummary], fetch: Fetch
) -> KnownCurve | None:
    """The newest that can be shown, or else the newest; None: there is none.

    Args:
        provenance: of the run.
        curves: of the same images, the newest first.
        fetch: gets a file of theirs.
    """
    mine, penalty = _params(provenance, *SAME), _params(provenance, "penalty")
    matching = [curve for curve in curves if _part(curve.params, *SAME) == mine]
    for curve in matching:
        if (saved := _saved(curve, fetch)) is not None:
            return _known(curve, penalty, saved)
    return _known(matching[0], penalty, None) if matching else None


def _known(curve: CurveSummary, penalty: Mapping[str, str], saved: SavedCurve | None) -> KnownCurve:
    same_penalty = _part(curve.params, "penalty") == penalty
    return KnownCurve(shortened(curve.name, NAME_LENGTH), same_penalty, saved)


def _saved(curve: CurveSummary, fetch: Fetch) -> SavedCurve | None:
    with tempfile.TemporaryDirectory(prefix="vaebalance-curve-") as temporary:
        try:
            path = fetch(curve.run_id, FILE, Path(temporary))
            return None if path is None else load_states(path)
        except UserError as error:
            print(f"note: {curve.name}: {error}")
            return None


def _params(provenance: Provenance, *sections: str) -> dict[str, str]:
    """As MLflow keeps them."""
    chosen = {name: provenance.params[name] for name in sections if name in provenance.params}
    return {name: param_text(value) for name, value in flatten(chosen, ".").items()}


def _part(params: Mapping[str, str], *sections: str) -> dict[str, str]:
    return {name: text for name, text in params.items() if name.partition(".")[0] in sections}


def trade_off(inputs: Inputs, known: KnownCurve | None) -> Callable[[int], Panel] | None:
    """What makes the report's panel, given the bytes that it may take.

    Returns:
        None: a plain autoencoder has no rate, and so nothing to trade.
    """
    if not inputs.model.is_variational:
        return None
    return lambda room: _panel(inputs, known, room)


def _panel(inputs: Inputs, known: KnownCurve | None, room: int) -> Panel:
    if known is None:
        none = (
            "No curve of the same images, model and likelihood was known when this page was made. "
        )
        return Panel(ANCHOR, TITLE, TITLE, none + HOW, ())
    if known.saved is None:
        lost = f"MLflow knows a curve, “{known.name}”, but its {FILE} is missing or damaged. "
        return Panel(ANCHOR, TITLE, TITLE, lost + AGAIN, ())
    applet = _applet(inputs, known.saved, room)
    if applet is None:
        full = "This page has no room left for the curve's pictures: see its own page in MLflow, "
        return Panel(ANCHOR, TITLE, TITLE, f"{full}in the run “{known.name}”.", ())
    reading = f"{known.saved.facts.models} {_said_of_run(inputs, known.saved.states)}"
    blocks: tuple[Block, ...] = (applet, Prose(_origin(known)))
    rows = [
        (s.beta, s.distortion, s.rate, s.distortion + s.rate, s.active_count)
        for s in known.saved.states
    ]
    return Panel(ANCHOR, TITLE, TITLE, reading, blocks, {"trade_off.csv": as_csv(HEADER, rows)})


def _applet(inputs: Inputs, saved: SavedCurve, room: int) -> Applet | None:
    """The slider, at this run's β where it has that; None: it does not fit."""
    own, first, facts = _own_beta(inputs), len(saved.states) // 2, saved.facts
    if is_within(saved.states, own):
        mark = Mark("run's β", own)
        first = nearest(saved.states, mark)
        facts = replace(facts, marks=(*facts.marks, mark))
    markup = body(
        saved.states,
        saved.shown,
        facts,
        first=first,
        heading="h3",
        largest=min(SHEET_BYTES, (room - BESIDE_BYTES) * 3 // 4),
    )
    return None if markup is None else Applet(markup, style(), script())


def _own_beta(inputs: Inputs) -> float:
    """β where α is 1; infinite where D weighs nothing."""
    best = inputs.best
    alpha, beta = best["validation/alpha"], best["validation/beta"]
    return beta / alpha if alpha > 0 else math.inf


def _said_of_run(inputs: Inputs, states: Sequence[CurveState]) -> str:
    own, test = _own_beta(inputs), inputs.evaluation["test"]
    of = "β" if inputs.best["validation/alpha"] == 1 else "β/α"
    distortion, rate = number(float(test["distortion"])), number(float(test["rate"]))
    if not is_within(states, own):
        low, high = (weight(float(f"{states[end].beta:.3g}")) for end in (0, -1))
        place = f"This run's {of} of {weight(own)} is beyond it: it goes from {low} to {high}."
    else:
        place = f"It begins at the position nearest to this run's {of}, {weight(own)}."
    return (
        f"{place} This run itself, a model trained with its own weights alone, has D {distortion} "
        f"and R {rate} on these test images."
    )


def _origin(known: KnownCurve) -> str:
    other = "" if known.same_penalty else " It was trained with another penalty than this run."
    return (
        f"From “{known.name}” in MLflow, the newest curve of these images, this model and "
        "likelihood when this page was made; its own page and an animation for slides are among "
        f"that run's artifacts.{other}"
    )
