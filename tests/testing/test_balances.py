"""A balance that violates one requirement gets a report of this requirement."""

from typing import ClassVar

import pytest
import torch

from vaebalance.balancing import Capacity, ControlVae, Fixed, OptimalSigma, RunFacts
from vaebalance.testing import check_balance
from vaebalance.vae.elbo import Weights


class Infinite(Fixed):
    """β is NaN."""

    def weights(self, state, terms):
        return Weights(1.0, float("nan"))


class NegativeAlpha(Fixed):
    """α is below 0."""

    def weights(self, state, terms):
        return Weights(-1.0, 1.0)


class NegativeBeta(Fixed):
    """β is below 0."""

    def weights(self, state, terms):
        return Weights(1.0, torch.tensor(-0.5))


class OfEachImage(Fixed):
    """β is not averaged over the batch."""

    def weights(self, state, terms):
        return Weights(1.0, terms.rate)


class PlainState(Fixed):
    """The state has a number that is no tensor."""

    def initial_state(self, run):
        return {"step": 0}


class InPlace(Fixed):
    """The state is changed in place."""

    def initial_state(self, run):
        return {"step": torch.tensor(0)}

    def next_state(self, state, terms):
        state["step"] += 1
        return state


class Growing(Fixed):
    """The state grows."""

    def next_state(self, state, terms):
        return state | {"rate": terms.rate.mean()}


class Hidden(Fixed):
    """Something that changes is not in the state."""

    past: ClassVar[list[float]] = []

    def weights(self, state, terms):
        self.past.append(0.0)
        return Weights(1.0, float(len(self.past)))


class PlainBool(Fixed):
    """`settled` is no tensor."""

    def settled(self, state):
        return True


class Branching(Fixed):
    """A tensor is converted to a number."""

    def weights(self, state, terms):
        return Weights(1.0, 1.0 if terms.rate.mean() > 6 else 0.5)


class BadAdvice(Fixed):
    """The advice names a knob that does not exist."""

    for_more_rate: ClassVar[str] = "lower balance.gamma"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Infinite, r"α and β are finite, not \[1\] of shape \(\) and \[nan\]"),
        (NegativeAlpha, r"α ≥ 0, not \[-1\].*\(Step 0\.\)"),
        (NegativeBeta, r"β ≥ 0, not \[-0\.5\].*`negative_beta: ClassVar\[bool\] = True`"),
        (OfEachImage, r"β one or one a latent, \(4,\).*average over the batch"),
        (PlainState, r"the state holds only tensors, but not in \['step'\]"),
        (InPlace, r"`next_state` does not change its argument"),
        (Growing, r"the state keeps its names.* but after 10 steps has \{'rate'"),
        (Hidden, r"resumes exactly, but the weights differ after the state is saved and loaded"),
        (PlainBool, r"`settled` is a tensor \[\] of bool, not True"),
        (Branching, r"no tensor is converted to a number.*`torch\.where`"),
        (BadAdvice, r"\['gamma'\] are none of \['alpha', 'beta', 'kind'\]"),
    ],
)
def test_a_violation_is_named_with_its_remedy(kind, words):
    with pytest.raises(AssertionError, match=words):
        check_balance(kind())


def test_a_rule_that_pulls_the_rate_up_says_so():
    assert Capacity.negative_beta
    check_balance(Capacity(capacity=5.0))


def test_it_is_told_of_the_run():
    run = RunFacts(dimensions=30, latent_size=3, steps=20)
    check_balance(ControlVae(rate=5.0), run)
    with pytest.raises(AssertionError, match="a check ended in AssertionError"):
        check_balance(OptimalSigma(), run)  # it needs σ
