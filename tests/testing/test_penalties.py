"""A penalty that violates one requirement gets a report of this requirement."""

from typing import ClassVar, Literal

import pytest
import torch

from vaebalance.balancing.penalties import AbstractPenalty
from vaebalance.testing import check_penalty


class Norm(AbstractPenalty):
    """The mean square of the codes, a penalty that meets all requirements."""

    kind: Literal["norm"] = "norm"

    def measure(self, codes):
        return {"norm": codes.z.square().mean()}

    def coefficients(self):
        return {"norm": 2.0}


class Unpriced(Norm):
    """A component has no cost."""

    def measure(self, codes):
        return super().measure(codes) | {"other": codes.z.mean()}


class OfEachImage(Norm):
    """A component is not averaged."""

    def measure(self, codes):
        return {"norm": codes.z.square().sum(1)}


class AloneInfinite(Norm):
    """A batch of one has no variance."""

    def measure(self, codes):
        return {"norm": (codes.z - codes.z.mean(0)).square().sum(0).mean() / (len(codes.z) - 1)}


class Miscounted(Norm):
    """`weighted` is not the sum."""

    def weighted(self, components):
        return 3 * super().weighted(components)


class SecretlyRandom(Norm):
    """Random numbers are drawn, but `draws` is False."""

    def measure(self, codes):
        return {"norm": (codes.z * torch.rand_like(codes.z)).square().mean()}


class Detached(Norm):
    """The gradient is detached."""

    def measure(self, codes):
        return {"norm": codes.z.square().mean().detach()}


class Branching(Norm):
    """A tensor is converted to a number."""

    draws: ClassVar[bool] = False

    def measure(self, codes):
        square = codes.z.square().mean()
        return {"norm": square if square > 0 else 0 * square}


def test_one_without_fault_passes():
    check_penalty(Norm())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Unpriced, r"each component has a cost.*\['norm', 'other'\].*\['norm'\]"),
        (OfEachImage, r"norm is one finite number for a batch of 1, not \["),
        (AloneInfinite, r"norm is one finite number for a batch of 1, not \[nan\]"),
        (Miscounted, r"`weighted` is the sum of costs times components"),
        (SecretlyRandom, r"set `draws: ClassVar\[bool\] = True`"),
        (Detached, r"the gradient is that of finite differences, but it is not"),
        (Branching, r"no tensor is converted to a number.*`torch\.where`"),
    ],
)
def test_a_violation_is_named_with_its_remedy(kind, words):
    with pytest.raises(AssertionError, match=words):
        check_penalty(kind())


def test_random_state_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    check_penalty(Norm())
    assert torch.equal(torch.rand(3), expected)
