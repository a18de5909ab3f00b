"""The choice of β by the knee, by the nll and by a target."""

import pytest

from vaebalance.base.errors import UserError
from vaebalance.curve.chosen_beta import (
    Target,
    best_of,
    best_own_of,
    find,
    knee_of,
    measure_quantity,
)
from vaebalance.curve.trace import CurveRow, trace
from vaebalance.evaluation.measured_images import measured_images

COST = {"batch_size": 1024, "seed": 0}


def row(beta, distortion, rate, nll=None, calibrated=0.0):
    return CurveRow(
        split="validation",
        beta=beta,
        distortion=distortion,
        rate=rate,
        negative_elbo=distortion + rate,
        weighted_loss=distortion + beta * rate,
        nll=nll,
        nll_standard_error=None,
        calibrated_nll=calibrated,
        calibrated_nll_standard_error=None,
        active_units=1,
        rmse=0.1,
        psnr=20.0,
        sample_frechet=None,
        sample_precision=None,
        sample_recall=None,
    )


def test_the_rules():
    hyperbola = [row(2.0**-k, 2.0**-k, 2.0**k, nll=abs(k - 2), calibrated=k) for k in range(9)]
    assert knee_of(hyperbola) is hyperbola[4]
    assert best_of(hyperbola) is hyperbola[0]
    assert best_own_of(hyperbola) is hyperbola[2]
    assert knee_of(hyperbola[:2]) is None
    assert best_own_of([row(1.0, 1.0, 1.0)]) is None


@pytest.fixture(scope="module")
def rows_of(digits, curve_settings):
    """Return a function that traces a curve on validation images, once."""
    spec = curve_settings().evaluate.replace(sample_images=0)
    known = {}

    def rows(curve):
        if id(curve) not in known:
            known[id(curve)] = list(trace(curve, curve.betas(5), digits, "validation", spec, 0))
        return known[id(curve)]

    return rows


@pytest.mark.parametrize("method", ["conditioned", "continuation"])
@pytest.mark.parametrize("quantity", ["rate", "distortion", "rmse", "psnr"])
def test_a_target_is_met_with_nothing_to_spare(request, digits, rows_of, method, quantity):
    curve = request.getfixturevalue(method)
    rows = rows_of(curve)
    wanted = (getattr(rows[2], quantity) + getattr(rows[3], quantity)) / 2
    target = Target(quantity, wanted)
    found = find(curve, rows, target, digits, **COST)
    assert target.is_met(found.value)
    images = measured_images(digits, "validation", 0)
    assert found.value == measure_quantity(curve.model_at(found.beta), quantity, images, **COST)
    if curve.is_continuous:
        assert rows[2].beta < found.beta < rows[3].beta
        assert found.value == pytest.approx(wanted, rel=2e-3)
    else:
        assert found.beta == rows[3 if quantity == "rate" else 2].beta


def test_a_curve_that_is_not_monotone_still_has_an_answer(continuation, digits):
    """Noise makes a curve so, or a sweep whose first model was trained too briefly."""
    values = zip([1.0, 2.0, 3.0, 4.0], [30, 20, 25, 40], [5, 4, 3, 1], strict=True)
    rows = [row(*value) for value in values]
    found = find(continuation, rows, Target("distortion", 27), digits, **COST)
    assert (found.beta, found.value) == (3.0, 25)
    found = find(continuation, rows, Target("rate", 4.5), digits, **COST)
    assert (found.beta, found.value) == (2.0, 4)


@pytest.mark.parametrize(
    ("quantity", "value", "words"),
    [
        ("rate", 1e-9, "no β of the curve meets it; there is rate from"),
        ("rate", 1e9, "every β of the curve meets it"),
        ("psnr", 99.0, r"no β of the curve meets it; .* dB on validation images"),
        ("rmse", 1e-6, r"target rmse ≤ 1e-06 in pixel values: no β"),
        ("distortion", 1e9, r"every β .* \(β = 0\.01\) to .* \(β = 10\)"),
    ],
)
def test_a_target_out_of_range_says_what_there_is(
    conditioned, digits, rows_of, quantity, value, words
):
    with pytest.raises(UserError, match=words):
        find(conditioned, rows_of(conditioned), Target(quantity, value), digits, **COST)
