"""Seeds derived by name."""

import pytest
import torch

from vaebalance.base import seeds as randomness
from vaebalance.base.seeds import derive_seed, forked


def test_seeds_depend_on_every_part():
    seeds = {derive_seed(0, "a", 1), derive_seed(1, "a", 1), derive_seed(0, "b", 1)}
    seeds |= {derive_seed(0, "a", 2), derive_seed(0, "a")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_the_same_on_every_machine():
    """A change here changes every result that anybody wrote down."""
    assert derive_seed(0, "epoch", 1) == 123735704575244949


@pytest.mark.parametrize("has_accelerator", [False, True])
def test_forking_restores_the_generator(monkeypatch, has_accelerator):
    monkeypatch.setattr(randomness, "_has_accelerator", lambda: has_accelerator)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with forked(1):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with forked(1):
        assert torch.equal(torch.rand(2), inside)
    with pytest.raises(KeyError), forked(1):
        raise KeyError
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), inside)
