"""The report's slider: the choice of the curve, its description, and the panel without one."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import pytest

from tests.helpers.curve_examples import noisy
from vaebalance.base.errors import UserError
from vaebalance.base.provenance import make_provenance
from vaebalance.pages.kit.blocks import Applet
from vaebalance.pages.report.build import LARGEST, build
from vaebalance.pages.report.trade_off import ANCHOR, known_curve, trade_off
from vaebalance.pages.slider.saved_states import save_states
from vaebalance.tracking import CurveSummary

PARAMS = {
    "model": {"latent_size": 4, "architecture": {"hidden": [32]}},
    "likelihood": {"kind": "gaussian", "sigma": 0.5},
    "penalty": {"kind": "none"},
    "balance": {"kind": "fixed", "beta": 3.0},
}
AS_TEXT = {
    "model.latent_size": "4",
    "model.architecture.hidden": "[32]",
    "likelihood.kind": "gaussian",
    "likelihood.sigma": "0.5",
    "penalty.kind": "none",
    "curve.method": "conditioned",
}
MINE = make_provenance(PARAMS, {"digest": "d" * 64}, "c")
FREE_BYTES = 5_000_000


@pytest.fixture
def fetch(curve, tmp_path):
    """Return a fetch that gives run `good` a curve, `damaged` half of it, `away` an error."""

    def get(run_id, name, folder):
        path = folder / name
        if run_id == "away":
            raise UserError("the store is away")
        if run_id not in ("good", "damaged"):
            return None
        save_states(path, curve.saved.states, curve.saved.shown, curve.saved.facts)
        if run_id == "damaged":
            path.write_bytes(path.read_bytes()[:2000])
        return path

    return get


def known(fetch, *runs, **changes):
    """Choose among curves with these run ids, newest first."""
    curves = [CurveSummary(run, f"curve {run}", AS_TEXT | changes) for run in runs]
    return known_curve(MINE, curves, fetch)


def test_the_newest_that_can_be_read_is_chosen(fetch, capsys):
    found = known(fetch, "empty", "damaged", "away", "good", "older")
    assert found.name == "curve good"
    assert len(found.saved.states) == 7
    assert found.same_penalty
    notes = capsys.readouterr().out.splitlines()
    assert [note.split(": ")[1] for note in notes] == ["curve damaged", "curve away"]


def test_without_a_file_the_newest_is_named(fetch):
    found = known(fetch, "damaged", "empty")
    assert (found.name, found.saved) == ("curve damaged", None)
    assert known(fetch) is None


@pytest.mark.parametrize(
    "other",
    [
        {"model.latent_size": "8"},
        {"model.architecture.activation": "relu"},
        {"likelihood.sigma": "0.25"},
        {"likelihood.kind": "bernoulli"},
    ],
)
def test_a_curve_of_another_model_or_likelihood_is_ignored(other, fetch):
    assert known(fetch, "good", **other) is None


def test_another_penalty_is_mentioned(fetch, runs):
    found = known(fetch, "good", **{"penalty.kind": "mmd"})
    assert not found.same_penalty
    inputs = runs("plain").inputs()
    assert "another penalty" in trade_off(inputs, found)(FREE_BYTES).blocks[1].text
    same = trade_off(inputs, replace(found, same_penalty=True))(FREE_BYTES)
    assert "another penalty" not in same.blocks[1].text


def test_it_begins_at_this_runs_beta(runs, with_slider, curve):
    page = with_slider.read_text(encoding="utf-8")
    index = [state.beta for state in curve.saved.states].index(1.0)
    data = json.loads(re.search(r'id="slider-data">(.*?)</script>', page)[1])
    value = re.search(r'id="beta"[^>]* value="([^"]+)"', page)[1]
    assert float(value) == data["logs"][index] == 0.0
    assert re.findall(r'data-state="(\d)">([^<]+)<', page) == [
        ("2", "knee"),
        (str(index), "run&#39;s β"),
    ]
    test = runs("plain").inputs().evaluation["test"]
    reading = re.search(rf'id="{ANCHOR}-title".*?class="reading">(.*?)</p>', page, re.S)[1]
    assert reading.startswith("Seven models, ever weaker. ")
    numbers = [float(n) for n in re.findall(r"[DR] (\d+\.\d+)", reading)]
    assert numbers == pytest.approx([test["distortion"], test["rate"]], rel=1e-3)
    assert "digits curve 1234" in page
    assert "A caution." not in page  # the report has its own
    order = re.findall(r'<section id="([^"]+)"', page)
    assert order.index(ANCHOR) == order.index("rate-distortion") + 1
    with (with_slider.parent / "trade_off.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["β"]) for row in rows] == [state.beta for state in curve.saved.states]


@pytest.mark.parametrize(
    ("alpha", "beta", "place"),
    [
        (1.0, 5.0, "nearest to this run's β, 5."),
        (4.0, 2.0, "nearest to this run's β/α, 0.5."),
        (1.0, 50.0, "This run's β of 50 is outside the curve, 0.05 to 5."),
        (1.0, 0.0, "This run's β of 0 is outside the curve"),
        (0.0, 1.0, "This run's β/α of ∞ is outside the curve"),
    ],
)
def test_only_the_ratio_of_the_weights_counts(alpha, beta, place, runs, curve):
    inputs = runs("plain").inputs()
    count = len(inputs.history["epoch"])
    weights = {"validation/alpha": [alpha] * count, "validation/beta": [beta] * count}
    panel = trade_off(replace(inputs, history=inputs.history | weights), curve)(FREE_BYTES)
    assert place in panel.reading
    assert ("run&#39;s β</button>" in panel.blocks[0].markup) == ("nearest" in place)


def test_without_a_curve_a_line_says_how_to_get_one(runs, curve):
    inputs = runs("plain").inputs()
    none = trade_off(inputs, None)(FREE_BYTES)
    assert "make curve" in none.reading
    assert none.blocks == ()
    lost = trade_off(inputs, replace(curve, saved=None))(FREE_BYTES)
    assert "“digits curve 1234”" in lost.reading
    assert "missing or damaged" in lost.reading
    assert "make curve" in lost.reading
    assert lost.blocks == ()
    assert trade_off(runs("autoencoder").inputs(), curve) is None


def test_the_page_stays_small_whatever_the_pictures(runs, curve, tmp_path, monkeypatch):
    """The pictures are noise, and the report leaves them much or little room."""
    inputs, spec = runs("plain").inputs(), runs("plain").spec
    states, shown = noisy(curve.saved.states, curve.saved.shown, (3, 64, 64))
    large = replace(curve, saved=replace(curve.saved, states=states, shown=shown))
    sizes = []
    for largest in (LARGEST, 3_000_000):
        monkeypatch.setattr("vaebalance.pages.report.build.LARGEST", largest)
        page = build(inputs, spec, 0, tmp_path / str(largest), trade_off(inputs, large))
        sizes.append(page.stat().st_size)
        assert sizes[-1] < largest
        assert 'id="slider"' in page.read_text(encoding="utf-8")
    assert sizes[0] > sizes[1]
    full = trade_off(inputs, large)(1_000_000)
    assert "no room" in full.reading
    assert full.blocks == ()


def test_the_same_curve_gives_the_same_bytes(runs, curve, with_slider, tmp_path):
    run, inputs = runs("plain"), runs("plain").inputs()
    again = build(inputs, run.spec, 0, tmp_path / "again", trade_off(inputs, curve))
    assert again.read_bytes() == with_slider.read_bytes()


def test_names_in_a_curve_are_only_text(runs, curve):
    hostile = "</script><script>window.hacked = 1</script>"
    facts = replace(curve.saved.facts, models=hostile, title=hostile, caution=hostile)
    facts = replace(facts, marks=tuple(replace(mark, name=hostile) for mark in facts.marks))
    shown = replace(curve.saved.shown, names=(hostile,) * len(curve.saved.shown.names))
    saved = replace(curve.saved, facts=facts, shown=shown)
    panel = trade_off(runs("plain").inputs(), replace(curve, saved=saved))(FREE_BYTES)
    (applet,) = (block for block in panel.blocks if isinstance(block, Applet))
    assert "&lt;script&gt;" in applet.markup
    assert applet.markup.count("<script") == 1
