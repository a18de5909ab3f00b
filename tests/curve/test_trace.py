"""The numbers along a curve are those of the evaluation."""

import math

import pytest

from vaebalance.base.errors import UserError
from vaebalance.curve.trace import measure, trace
from vaebalance.evaluation.stage import evaluate

SPLITS = ["validation", "test"]


def test_a_row_is_what_the_evaluate_stage_says(conditioned, digits, curve_settings):
    spec = curve_settings().evaluate
    model = conditioned.model_at(0.5)
    row = measure(model, 0.5, digits, "test", spec, 3)
    whole = evaluate(model, digits, spec, 3)
    test = whole.test
    assert row.distortion == test.distortion
    assert row.rate == test.rate
    assert row.negative_elbo == test.negative_elbo
    assert row.weighted_loss == pytest.approx(test.distortion + 0.5 * test.rate)
    assert (row.nll, row.nll_standard_error) == (
        test.importance_weighted_nll,
        test.importance_weighted_nll_standard_error,
    )
    assert row.calibrated_nll == test.calibrated_nll
    assert (row.rmse, row.psnr) == (test.rmse, test.psnr)
    assert row.active_units == whole.latents.active_units
    own = whole.samples["own"]
    assert (row.sample_frechet, row.sample_precision, row.sample_recall) == (
        own.frechet,
        own.precision,
        own.recall,
    )


@pytest.mark.parametrize("method", ["conditioned", "continuation"])
def test_a_row_for_each_beta(request, digits, curve_settings, method):
    curve = request.getfixturevalue(method)
    spec = curve_settings().evaluate.replace(sample_images=0)
    rows = list(trace(curve, curve.betas(3), digits, "validation", spec, 0))
    assert [r.beta for r in rows] == pytest.approx([0.01, math.sqrt(0.1), 10.0])
    assert [r.rate for r in rows] == sorted((r.rate for r in rows), reverse=True)
    assert {r.split for r in rows} == {"validation"}
    assert all(r.sample_frechet is None for r in rows)
    assert rows == list(trace(curve, curve.betas(3), digits, "validation", spec, 0))


def test_a_likelihood_that_is_no_density_has_no_nll_of_its_own(digits, curve_settings, train_curve):
    sections = {"likelihood": {"kind": "rmse"}, "train": {"epochs": 1}}
    settings = curve_settings(**sections)
    spec = settings.evaluate.replace(sample_images=0)
    curve = train_curve(settings, digits)
    (row,) = trace(curve, [1.0], digits, "validation", spec, 0)
    assert row.nll is None
    assert "nll" not in row.numbers()
    assert 0 < row.distortion < 1  # D of the loss, not of the calibrated Gaussian
    assert math.isfinite(row.calibrated_nll)


def test_a_continuation_has_its_own_betas_only(continuation, conditioned):
    with pytest.raises(UserError, match=r"β = 0\.5: a continuation .* nearest is 0\.316"):
        continuation.model_at(0.5)
    assert continuation.model_at(0.316228) is continuation.model_at(math.sqrt(0.1))
    with pytest.raises(UserError, match="β = -1"):
        continuation.model_at(-1.0)
    with pytest.raises(UserError, match=r"from 0\.01 to 10"):
        conditioned.model_at(20.0)
    assert len(continuation.betas(100)) == 5
    assert len(conditioned.betas(100)) == 100
    assert continuation.betas(2) == (0.01, 10.0)
