"""The runs comparable with a run, and their plane."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from vaebalance.base.provenance import make_provenance
from vaebalance.base.verdicts import Verdict, read_verdicts
from vaebalance.pages.figures.rate_distortion import OperatingPoint, isolines, rate_distortion
from vaebalance.pages.kit.page import render
from vaebalance.pages.report.comparable_runs import comparable_runs, weights_label
from vaebalance.pages.report.panels.plane import rate_distortion_plane
from vaebalance.pages.report.summary import summarise
from vaebalance.tracking import RunSummary, TrialSummary

LIKELIHOOD = {"kind": "gaussian", "sigma": 0.5}
AS_TEXT = {"likelihood.kind": "gaussian", "likelihood.sigma": "0.5"}
MINE = make_provenance({"likelihood": LIKELIHOOD}, {"digest": "d" * 64}, "c")


def metrics(prefix, rate=5.0, bound=30.0, alpha=1.0, beta=1.0):
    values = {"rate": rate, "negative_elbo": bound, "alpha": alpha, "beta": beta}
    return {f"{prefix}{name}": value for name, value in values.items()}


def run(name, params=AS_TEXT, fingerprint=None, **values):
    numbers = metrics("model/validation_", **values) | {"test/importance_weighted_nll": 28.0}
    return RunSummary(name, name, fingerprint or name, numbers, params)


def trial(number, params=AS_TEXT, **values):
    return TrialSummary("study", number, metrics("final/validation/", **values), params)


def test_only_models_of_the_same_likelihood_are_comparable():
    runs = [
        run("other", rate=2.0, bound=31.0, beta=4.0),
        run("itself", fingerprint=MINE.fingerprint),
        run("another sigma", AS_TEXT | {"likelihood.sigma": "0.25"}),
        run("no sigma", {"likelihood.kind": "gaussian"}),
        run("bernoulli", {"likelihood.kind": "bernoulli"}),
        RunSummary("plain", "plain", "plain", {"model/validation_distortion": 3.0}, AS_TEXT),
        run("diverged", bound=float("nan")),
    ]
    trials = [trial(3, beta=0.5), trial(4, {"likelihood.kind": "rmse"})]
    found = comparable_runs(MINE, runs, trials)
    assert [(p.name, p.kind) for p in found] == [("other", "run"), ("study, trial 3", "trial")]
    other, third = found
    assert (other.rate, other.distortion, other.nll) == (2.0, 29.0, 28.0)
    assert (other.weights, other.label) == ("α = 1, β = 4", "β 4")
    assert (third.weights, third.nll) == ("α = 1, β = 0.5", None)


def test_the_stores_order_does_not_matter():
    runs = [run(f"run {k}", rate=float(k)) for k in range(5)]
    assert comparable_runs(MINE, runs, []) == comparable_runs(MINE, runs[::-1], [])


def test_a_label_names_the_weight_that_is_not_one():
    assert weights_label(1.0, 4.0) == "β 4"
    assert weights_label(100.0, 1.0) == "α 100"
    assert weights_label(2.0, 0.5) == "α 2, β 0.5"


@pytest.mark.parametrize("span", [1e-3, 0.7, 15.0, 4000.0])
def test_isolines_are_round_few_and_cross_the_plane(span):
    x, y = (3.1, 3.1 + span / 3), (20.2, 20.2 + 2 * span / 3)
    totals = isolines(x, y)
    assert 3 <= len(totals) <= 10
    assert x[0] + y[0] < totals[0]
    assert totals[-1] < x[1] + y[1]
    steps = {round((b - a) / span, 6) for a, b in itertools.pairwise(totals)}
    assert len(steps) == 1


def test_lines_of_the_plane_are_lines_of_equal_sum_within_it():
    own = OperatingPoint("this run", "this run", "", "", 5.0, 20.0)
    other = OperatingPoint("other", "run", "", "", 9.0, 17.0)
    spec = rate_distortion("plane", [other, own], "nats").live
    (line,) = spec["datasets"]["own"]
    assert line["x"] + line["y"] == pytest.approx(25.0)
    assert line["x2"] + line["y2"] == pytest.approx(25.0)
    for end in spec["datasets"]["lines"]:
        assert f"D + R = {end['x'] + end['y']:g}" == end["name"]
        assert end["x2"] + end["y2"] == pytest.approx(end["x"] + end["y"])
        assert end["x"] < end["x2"]


def test_points_that_touch_share_a_label():
    points = [OperatingPoint(f"r{k}", "run", "", f"β {k}", 5 + k / 100, 20.0) for k in range(9)]
    far = OperatingPoint("far", "run", "", "β 50", 50.0, 2.0)
    labels = rate_distortion("plane", [*points, far], "nats").live["datasets"]["labels"]
    assert [label["label"] for label in labels] == ["β 0, β 1, β 2, …", "β 50"]


def test_the_plane_shows_the_run_alone_or_among_others(runs):
    inputs = runs("plain").inputs()
    alone = rate_distortion_plane(inputs)
    assert "no other run" in alone.reading
    best = inputs.best
    (point,) = alone.blocks[0].charts[0].live["datasets"]["points"]
    assert point["rate"] == best["validation/rate"]
    assert point["total"] == pytest.approx(best["validation/negative_elbo"])
    hostile = run("<script>window.hacked = 3</script> 😀 " + "long " * 60)
    others = comparable_runs(replace(MINE), [hostile], [trial(0)])
    among = rate_distortion_plane(replace(inputs, comparable_runs=others))
    assert "1 run and 1 study trial" in among.reading
    shapes = json.dumps(among.blocks[0].charts[0].live)
    assert all(f'"{shape}"' in shapes for shape in ("diamond", "circle", "triangle-up"))
    page = render(summarise(inputs), [among])
    assert "<script>window" not in page
    assert "long long long long long long long long long long" not in page
    table = among.files["rate_distortion.csv"].decode().splitlines()
    assert table[0] == "name,kind,weights,R,D,D + R,test nll"
    assert table[1].startswith("this run,this run,")
    assert len(table) == 4


def test_verdicts_come_first_in_words(runs):
    inputs = runs("plain").inputs()
    assert inputs.verdicts == tuple(read_verdicts(runs("plain").root / "artifacts/verdicts.json"))
    assert "Verdict" not in render(summarise(replace(inputs, verdicts=None)), [])
    healthy = render(summarise(replace(inputs, verdicts=())), [])
    assert "Verdict: healthy." in healthy
    evidence, remedy = "<b>6 of 8</b> latents carry nothing.", "lower balance.beta."
    verdicts = (Verdict("collapsed", evidence, remedy, 12), Verdict("collapsed", evidence, remedy))
    page = render(summarise(replace(inputs, verdicts=verdicts)), [])
    assert "Verdict: collapsed" in page
    assert page.count("since epoch 12") == 1
    assert "&lt;b&gt;6 of 8&lt;/b&gt; latents" in page
    assert page.index("Verdict: collapsed") < page.index("Distortion D")
