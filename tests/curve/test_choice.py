"""Which β: by the knee, by the nll, by a target."""

import pytest

from vaebalance.curve.choice import (
    Target,
    best_of,
    best_own_of,
    find,
    knee_of,
    measure_quantity,
)
from vaebalance.curve.trace import CurveRow
from vaebalance.errors import UserError
from vaebalance.evaluation import measured_images

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


def middle(curve, quantity, images):
    """A value that only a part of the curve meets."""
    return measure_quantity(curve.model_at(curve.betas(5)[2]), quantity, images, **COST)


@pytest.mark.parametrize("method", ["conditioned", "continuation"])
@pytest.mark.parametrize("quantity", ["rate", "distortion", "rmse", "psnr"])
def test_a_target_is_met_with_nothing_to_spare(request, digits, method, quantity):
    curve = request.getfixturevalue(method)
    images = measured_images(digits, "validation", 0)
    wanted = middle(curve, quantity, images)
    wanted *= 1.05 if quantity != "psnr" else 0.98  # a place between two β of the sweep
    target = Target(quantity, wanted)
    found = find(curve, target, digits, **COST)
    assert target.is_met(found.value)
    assert found.value == measure_quantity(curve.model_at(found.beta), quantity, images, **COST)
    if curve.is_continuous:
        assert found.value == pytest.approx(wanted, rel=2e-3)
        return
    own = curve.betas(5)
    step = -1 if quantity == "rate" else 1  # towards more of the term that is limited
    neighbour = own[own.index(found.beta) + step]
    assert not target.is_met(measure_quantity(curve.model_at(neighbour), quantity, images, **COST))


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
def test_a_target_out_of_range_says_what_there_is(conditioned, digits, quantity, value, words):
    with pytest.raises(UserError, match=words):
        find(conditioned, Target(quantity, value), digits, **COST)
