"""Every balance: the conformance suite, then each rule's own promise."""

from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from vaebalance.balances import Balance, Fixed, LinearWarmUp
from vaebalance.elbo import ElboTerms, weighted_loss

MEMBERS = [Fixed(alpha=2.0, beta=0.5), LinearWarmUp(beta=4.0, steps=10)]
TERMS = ElboTerms(torch.full((5,), 90.0), torch.full((5, 3), 2.0))


def run(balance, steps):
    state = balance.initial_state()
    used = []
    for _ in range(steps):
        used.append(balance.weights(state, TERMS))
        state = balance.next_state(state, TERMS)
    return used, state


def test_the_suite_covers_the_union():
    union = get_args(Balance)[0]
    assert {type(member) for member in MEMBERS} == set(get_args(union))


@pytest.mark.parametrize("balance", MEMBERS, ids=lambda member: member.kind)
class TestConformance:
    def test_weights_are_finite_and_not_negative(self, balance):
        for weights in run(balance, 30)[0]:
            for weight in weights:
                weight = torch.as_tensor(weight)
                assert weight.isfinite().all()
                assert (weight >= 0).all()
            assert weighted_loss(TERMS, weights).shape == ()

    def test_state_is_explicit_and_tensors_only(self, balance):
        """Two runs from the initial state agree, and the state can be saved."""
        (first, state), (second, _) = run(balance, 7), run(balance, 7)
        assert [tuple(map(float, w)) for w in first] == [tuple(map(float, w)) for w in second]
        assert all(isinstance(value, torch.Tensor) for value in state.values())
        assert state.keys() == balance.initial_state().keys()

    def test_resuming_from_the_state_goes_on_alike(self, balance):
        whole, _ = run(balance, 12)
        _, state = run(balance, 5)
        resumed = []
        for _ in range(7):
            resumed.append(balance.weights(state, TERMS))
            state = balance.next_state(state, TERMS)
        assert [tuple(map(float, w)) for w in resumed] == [tuple(map(float, w)) for w in whole[5:]]

    def test_next_state_leaves_the_old_one_alone(self, balance):
        state = balance.initial_state()
        before = {name: value.clone() for name, value in state.items()}
        balance.next_state(state, TERMS)
        assert all(torch.equal(state[name], before[name]) for name in before)

    def test_it_survives_its_dump(self, balance):
        adapter = TypeAdapter(Balance)
        assert adapter.validate_json(adapter.dump_json(balance)) == balance


def test_fixed_never_moves():
    assert set(run(Fixed(alpha=2.0, beta=0.5), 9)[0]) == {(2.0, 0.5)}


@pytest.mark.parametrize(
    "values",
    [
        {"beta": -1.0},
        {"alpha": float("nan")},
        {"alpha": float("inf")},
        {"beta": "1"},
        {"betta": 3.0},
        {"alpha": 0.0, "beta": 0.0},
    ],
)
def test_fixed_refuses(values):
    with pytest.raises(ValidationError):
        Fixed(**values)


def test_warm_up_rises_linearly_and_stays():
    betas = [float(weights.beta) for weights in run(LinearWarmUp(beta=4.0, steps=10), 14)[0]]
    expected = [4.0 * min(1.0, step / 10) for step in range(14)]
    assert betas == pytest.approx(expected)
