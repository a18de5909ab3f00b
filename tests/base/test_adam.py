"""Our Adam is torch's, and loads no compiler."""

import subprocess
import sys

import pytest
import torch

from vaebalance.base.adam import Adam

TRAIN = """
import sys
import torch
from vaebalance.base.adam import Adam
model = torch.nn.Linear(3, 2)
optimizer = Adam(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
optimizer.zero_grad()
model(torch.ones(4, 3)).square().mean().backward()
optimizer.step()
schedule.step()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def trained(kind, other, fused):
    """Weights and state after some steps, the last of them after a change to `other`."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    optimizer = kind(model.parameters(), lr=0.01, fused=fused)
    x = torch.randn(40, 5)
    for step in range(12):
        if step == 6:
            state = optimizer.state_dict()
            optimizer = other(model.parameters(), lr=0.5, fused=fused)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    assert all(p.requires_grad for p in model.parameters())
    moments = [value for kept in optimizer.state.values() for value in kept.values()]
    return [*model.parameters(), *moments]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("kind", "other"), [(Adam, Adam), (Adam, torch.optim.Adam), (torch.optim.Adam, Adam)]
)
def test_it_does_what_torch_does_and_each_takes_over_the_other_s_state(kind, other, fused):
    found = trained(kind, other, fused)
    wanted = trained(torch.optim.Adam, torch.optim.Adam, fused)
    assert len(found) == len(wanted)
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))


def test_no_compiler_is_loaded():
    """(A failure with another torch means that `base.adam` unwraps it no longer.)"""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False"], done.stderr
