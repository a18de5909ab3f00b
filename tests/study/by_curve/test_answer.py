"""The β that an objective chooses among given rows."""

import pytest

from vaebalance.base.errors import UserError
from vaebalance.curve.trace import CurveRow
from vaebalance.evaluation.metrics import measure
from vaebalance.objectives.objectives import Frontier, Metric, NegativeElbo, Nll
from vaebalance.settings import CurveSettings, view_of
from vaebalance.study.by_curve.answer import CurveStudy, pareto_rows
from vaebalance.study.by_curve.question import COLUMNS, Question


def row(beta, **numbers):
    """Make a row with D = β and R = 1/β; other numbers are the same at every β."""
    same = {
        "split": "validation",
        "distortion": beta,
        "rate": 1 / beta,
        "negative_elbo": beta + 1 / beta,
        "weighted_loss": beta + 1,
        "nll": 10.0,
        "nll_standard_error": 1.0,
        "calibrated_nll": 10.0,
        "calibrated_nll_standard_error": 1.0,
        "active_units": 1,
        "rmse": 0.1,
        "psnr": 20.0,
        "sample_frechet": 5.0,
        "sample_precision": 0.5,
        "sample_recall": 0.5,
    }
    return CurveRow(beta=beta, **{**same, **numbers})


BETAS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def ask(asking, objective, rows, **curve):
    settings = view_of(CurveSettings, asking(curve=curve))
    return CurveStudy(Question(objective, 0.01, 10.0), None, rows, None, settings).answer()


def test_the_least_nll_with_what_is_within_noise(asking):
    nlls = (13.0, 10.9, 10.0, 10.8, 12.0, 13.0, 14.0)
    rows = [row(beta, calibrated_nll=nll) for beta, nll in zip(BETAS, nlls, strict=True)]
    found = ask(asking, Nll(kind="nll"), rows, nll_samples=32)
    assert (found.beta, found.rule, found.values) == (0.5, "nll", {"calibrated_nll": 10.0})
    assert "(K = 32), 10.0000 nats per image" in found.why
    assert "within one standard error of it: β from 0.25 to 1" in found.why
    assert "Warning" not in found.why


def test_a_frontier_has_its_knee(asking):
    rows = [row(beta) for beta in BETAS]
    found = ask(asking, Frontier(kind="frontier"), rows)
    assert (found.beta, found.values) == (1.0, {"distortion": 1.0, "rate": 1.0})
    worse = [*rows, row(9.0, distortion=9.0, rate=9.0)]
    assert [point.beta for point in pareto_rows(worse)] == [*reversed(BETAS)]


def test_the_negative_elbo_is_least(asking):
    found = ask(asking, NegativeElbo(kind="negative_elbo"), [row(beta) for beta in BETAS])
    assert (found.beta, found.values) == (1.0, {"negative_elbo": 2.0})


@pytest.mark.parametrize("name", COLUMNS)
def test_a_metric_is_best_at_its_better_end(asking, name):
    place = 2
    better, _ = measure(name)
    best = -1.0 if better.better == "lower" else 100.0
    rows = [row(b, **({COLUMNS[name]: best} if n == place else {})) for n, b in enumerate(BETAS)]
    found = ask(asking, Metric(kind="metric", name=name), rows)
    assert (found.beta, found.values) == (BETAS[place], {COLUMNS[name]: best})
    assert f"{best:.4f}" in found.why


@pytest.mark.parametrize(("place", "end"), [(0, "low"), (-1, "high")])
def test_an_answer_at_an_end_is_warned_of(asking, place, end):
    rows = [row(beta, psnr=30.0 if beta == BETAS[place] else 20.0) for beta in BETAS]
    found = ask(asking, Metric(kind="metric", name="test/psnr"), rows)
    assert f"Warning: it is at the {end} end of the range" in found.why
    assert f"curve.{end}" in found.why


def test_a_number_that_the_curve_lacks_is_refused_with_those_it_has(asking):
    rows = [row(beta, sample_frechet=None, nll=None) for beta in BETAS]
    with pytest.raises(UserError, match="not have sample_frechet") as caught:
        ask(asking, Metric(kind="metric", name="samples/own/frechet"), rows)
    for words in ("evaluate.sample_images", "test/psnr", "tune.method: trials"):
        assert words in str(caught.value)
    assert "test/importance_weighted_nll" not in str(caught.value)


def test_only_the_range_that_is_asked_of_counts():
    rows = [row(beta) for beta in BETAS]

    def asked(low, high):
        return CurveStudy(Question(Nll(kind="nll"), low, high), None, rows, None, None).asked_rows

    assert [found.beta for found in asked(0.3, 2.0)] == [0.5, 1.0, 2.0]
    with pytest.raises(UserError, match=r"no point with β from 0\.3 to 0\.4; raise curve\.points"):
        asked(0.3, 0.4)
