"""The report's slider over β: the curve of the run's images, model and likelihood.

Curves come from MLflow as plain data, so that a report depends only on its inputs.
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
"""Fetches a file of a curve, given its run id, file name and folder; None if it is missing."""

ANCHOR, TITLE = "trade-off", "The whole trade-off"
SAME = ("model", "likelihood")
NAME_LENGTH = 60
HEADER = ("β", "D", "R", "D + R", "active latents")
HOW = "Run make curve: one training covers all β, and this page gets a slider over them."
AGAIN = "Run dvc repro --force curve/dvc.yaml, and then make curve for this page."


@dataclass(frozen=True)
class KnownCurve:
    """A curve of a run's images, model and likelihood."""

    name: str
    """Name of the curve's run in MLflow."""
    same_penalty: bool
    """Whether the curve has the same penalty as the run."""
    saved: SavedCurve | None
    """States to show; None if they are missing or damaged."""


def known_curve(
    provenance: Provenance, curves: Sequence[CurveSummary], fetch: Fetch
) -> KnownCurve | None:
    """Return the newest matching curve that can be shown, else the newest, or None.

    Args:
        provenance: provenance of the run.
        curves: curves of the same images, newest first.
        fetch: fetches a file of a curve.
    """
    params, penalty = _params(provenance, *SAME), _params(provenance, "penalty")
    matching = [curve for curve in curves if _part(curve.params, *SAME) == params]
    for curve in matching:
        if (saved := _load(curve, fetch)) is not None:
            return _known(curve, penalty, saved)
    return _known(matching[0], penalty, None) if matching else None


def _known(curve: CurveSummary, penalty: Mapping[str, str], saved: SavedCurve | None) -> KnownCurve:
    same_penalty = _part(curve.params, "penalty") == penalty
    return KnownCurve(shortened(curve.name, NAME_LENGTH), same_penalty, saved)


def _load(curve: CurveSummary, fetch: Fetch) -> SavedCurve | None:
    with tempfile.TemporaryDirectory(prefix="vaebalance-curve-") as temporary:
        try:
            path = fetch(curve.run_id, FILE, Path(temporary))
            return None if path is None else load_states(path)
        except UserError as error:
            print(f"note: {curve.name}: {error}")
            return None


def _params(provenance: Provenance, *sections: str) -> dict[str, str]:
    """Return the parameters of these sections as MLflow stores them."""
    chosen = {name: provenance.params[name] for name in sections if name in provenance.params}
    return {name: param_text(value) for name, value in flatten(chosen, ".").items()}


def _part(params: Mapping[str, str], *sections: str) -> dict[str, str]:
    return {name: text for name, text in params.items() if name.partition(".")[0] in sections}


def trade_off(inputs: Inputs, known: KnownCurve | None) -> Callable[[int], Panel] | None:
    """Return a function that makes the panel, given the bytes it may take.

    Returns:
        The function, or None for a plain autoencoder, which has no rate to trade.
    """
    if not inputs.model.is_variational:
        return None
    return lambda free_bytes: _panel(inputs, known, free_bytes)


def _panel(inputs: Inputs, known: KnownCurve | None, free_bytes: int) -> Panel:
    if known is None:
        none = "MLflow had no curve of the same images, model and likelihood for this page. "
        return Panel(ANCHOR, TITLE, TITLE, none + HOW, ())
    if known.saved is None:
        lost = f"MLflow has a curve, “{known.name}”, but its {FILE} is missing or damaged. "
        return Panel(ANCHOR, TITLE, TITLE, lost + AGAIN, ())
    applet = _applet(inputs, known.saved, free_bytes)
    if applet is None:
        full = "This page has no room left for the curve's pictures: see its own page in MLflow, "
        return Panel(ANCHOR, TITLE, TITLE, f"{full}in the run “{known.name}”.", ())
    reading = f"{known.saved.facts.models} {_describe_run(inputs, known.saved.states)}"
    blocks: tuple[Block, ...] = (applet, Prose(_origin(known)))
    rows = [
        (s.beta, s.distortion, s.rate, s.distortion + s.rate, s.active_count)
        for s in known.saved.states
    ]
    return Panel(ANCHOR, TITLE, TITLE, reading, blocks, {"trade_off.csv": as_csv(HEADER, rows)})


def _applet(inputs: Inputs, saved: SavedCurve, free_bytes: int) -> Applet | None:
    """Return the slider, set to the run's β if the curve covers it; None if it does not fit."""
    beta, first, facts = _run_beta(inputs), len(saved.states) // 2, saved.facts
    if is_within(saved.states, beta):
        mark = Mark("run's β", beta)
        first = nearest(saved.states, mark)
        facts = replace(facts, marks=(*facts.marks, mark))
    markup = body(
        saved.states,
        saved.shown,
        facts,
        first=first,
        heading="h3",
        largest=min(SHEET_BYTES, (free_bytes - BESIDE_BYTES) * 3 // 4),
    )
    return None if markup is None else Applet(markup, style(), script())


def _run_beta(inputs: Inputs) -> float:
    """Return the run's β/α; infinity if α is 0."""
    best = inputs.best
    alpha, beta = best["validation/alpha"], best["validation/beta"]
    return beta / alpha if alpha > 0 else math.inf


def _describe_run(inputs: Inputs, states: Sequence[CurveState]) -> str:
    beta, test = _run_beta(inputs), inputs.evaluation["test"]
    symbol = "β" if inputs.best["validation/alpha"] == 1 else "β/α"
    distortion, rate = number(float(test["distortion"])), number(float(test["rate"]))
    if not is_within(states, beta):
        low, high = (weight(float(f"{states[end].beta:.3g}")) for end in (0, -1))
        place = f"This run's {symbol} of {weight(beta)} is outside the curve, {low} to {high}."
    else:
        place = f"The slider starts at the position nearest to this run's {symbol}, {weight(beta)}."
    return (
        f"{place} This run, a model trained only with its own weights, has D {distortion} and "
        f"R {rate} on these test images."
    )


def _origin(known: KnownCurve) -> str:
    other = "" if known.same_penalty else " It was trained with another penalty than this run."
    return (
        f"From “{known.name}” in MLflow, the newest curve of these images, this model and this "
        "likelihood when this page was made. That run's artifacts include the curve's own page "
        f"and an animation for slides.{other}"
    )
