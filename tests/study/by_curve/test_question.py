"""The questions that a curve can answer, and their ranges of β at α = 1."""

import pytest

from vaebalance.base.errors import UserError
from vaebalance.study.by_curve.question import question_of

LOG = {"low": 0.1, "high": 4.0, "log": True}


def fixed(alpha, beta):
    return {"kind": "fixed", "alpha": alpha, "beta": beta}


@pytest.mark.parametrize(
    ("space", "balance", "low", "high"),
    [
        ({"balance.beta": LOG}, fixed(1.0, 1.0), 0.1, 4.0),
        ({"balance.beta": LOG}, fixed(2.0, 1.0), 0.05, 2.0),
        ({"balance.alpha": LOG}, fixed(1.0, 1.0), 0.25, 10.0),
        ({"balance.alpha": LOG}, fixed(1.0, 0.5), 0.125, 5.0),
    ],
)
def test_the_range_is_of_the_ratio(asking, space, balance, low, high):
    question = question_of(asking({"space": space}, balance=balance))
    assert (question.low, question.high) == pytest.approx((low, high))
    assert question.contains(low)
    assert question.contains(high)
    assert not question.contains(0.9 * low)
    assert not question.contains(1.1 * high)


def test_the_ranges_of_params_yaml_fit(asking):
    settings = asking()
    question = question_of(settings)
    assert (question.low, question.high) == (settings.curve.low, settings.curve.high)


@pytest.mark.parametrize(
    ("tune", "sections", "words"),
    [
        (
            {"space": {"balance.beta": LOG, "model.latent_size": {"low": 2, "high": 9}}},
            {},
            r"tune\.space has model\.latent_size, and .* one weight alone.*tune\.method: trials",
        ),
        ({"space": {"train.epochs": {"low": 2, "high": 9}}}, {}, r"tune\.space has train\.epochs,"),
        (
            {"space": {"balance.alpha": LOG, "balance.beta": LOG}},
            {"penalty": {"kind": "mmd", "weight": 1.0}},
            r"tune\.space has balance\.alpha, balance\.beta,",
        ),
        ({"space": {"balance.beta": {"choices": [0.5, 1.0]}}}, {}, "has choices, .* give {low"),
        (
            {},
            {"balance": {"kind": "warm_up", "beta": 1.0}},
            r"balance\.kind = 'warm_up', .* set balance\.kind: fixed, or set tune\.method: trials",
        ),
        ({}, {"model": {"posterior": "deterministic"}}, "has no rate"),
        ({}, {"balance": fixed(0.0, 1.0)}, r"balance\.alpha = 0"),
        (
            {"objective": {"kind": "metric", "name": "latents/coverage"}},
            {},
            r"'latents/coverage': a curve does not have it, but test/distortion, .*samples/own/rec",
        ),
        (
            {"space": {"balance.beta": {"low": 0.0, "high": 4.0}}},
            {},
            r"balance\.beta from 0 to 4 is β from 0 to 4 at α = 1, .* from 0\.01 to 10: make",
        ),
        ({"space": {"balance.alpha": {"low": 0.0, "high": 4.0}}}, {}, "β from 0.25 to inf"),
        ({}, {"curve": {"high": 5.0}}, r"curve is of β from 0\.01 to 5: make curve\.low"),
    ],
)
def test_what_a_curve_cannot_answer_is_refused(asking, tune, sections, words):
    with pytest.raises(UserError, match=words):
        question_of(asking(tune, **sections))
