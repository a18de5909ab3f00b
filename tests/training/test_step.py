"""An update, plain and compiled: the same numbers, also where there is nothing to compile."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from vaebalance.training.step import CompiledUpdate, Update


class Line:
    """Weights that learn a line, and how."""

    def __init__(self, kind=Update, clip=None, objective=None, **options):
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1, fused=True)
        self.update = kind(objective or self.measure, self.optimizer, clip, **options)

    def measure(self, x, scale):
        """With a draw, so that it matters which generator is drawn from."""
        noise = torch.randn(len(x), 1)
        loss = (scale * (self.model(x) - x.sum(1, keepdim=True)) + 0.1 * noise).square().mean()
        return loss, {"loss": loss.detach()}

    def follow(self, sizes, seed=1):
        torch.manual_seed(seed)
        scale = torch.tensor(2.0)
        return [self.update(torch.rand(size, 3), scale)["loss"] for size in sizes]

    def left(self):
        """Weights, and all that Adam remembers."""
        kept = list(self.model.parameters())
        for weight in self.model.parameters():
            kept += self.optimizer.state[weight].values()
        return kept


def traced(**options):
    return Line(CompiledUpdate, backend="eager", **options)


def assert_same(one, other):
    torch.testing.assert_close(one.left(), other.left(), rtol=1e-3, atol=1e-4)


class Odd(nn.Module):
    """Weights that are added, and so have one gradient, that nothing is made of, that lie askew."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.idle = (nn.Parameter(torch.rand(3)) for _ in range(3))
        self.askew = nn.Parameter(torch.rand(4, 3).T)
        self.frozen = nn.Parameter(torch.rand(3), requires_grad=False)

    def measure(self, x):
        line = x @ (self.one + self.other + self.frozen)
        return (line + (2 * self.askew + 1).exp().sum(1).sum()).square().mean()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.1, 100.0])
def test_it_does_what_torchs_own_calls_do(clip, fused):
    """To the last bit."""
    torch.manual_seed(0)
    ours, theirs = Odd(), Odd()
    theirs.load_state_dict(ours.state_dict())
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.1, fused=fused) for m in (ours, theirs)]
    update = Update(lambda x: (ours.measure(x), None), optimizers[0], clip)
    for x in torch.rand(5, 8, 3):
        update(x)
        theirs.measure(x).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimizers[1].step()
        optimizers[1].zero_grad()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_an_optimizer_that_is_not_plain_adam_is_refused():
    weights = list(nn.Linear(2, 1).parameters())
    for other in (torch.optim.SGD(weights), torch.optim.Adam(weights, weight_decay=0.1)):
        with pytest.raises(ValueError, match="plain Adam"):
            Update(lambda x: (x, None), other, None)


@pytest.mark.parametrize(("backend", "clip"), [("eager", None), ("eager", 0.5), ("inductor", 0.5)])
def test_compiled_it_is_the_same(clip, backend):
    """Draws, clipping, Adam, and what is told; the code that is made is run, too."""
    plain, compiled = Line(clip=clip), Line(CompiledUpdate, clip=clip, backend=backend)
    sizes = [8] * 5
    torch.testing.assert_close(compiled.follow(sizes), plain.follow(sizes), rtol=1e-3, atol=1e-4)
    assert_same(compiled, plain)
    assert compiled.update.failure is None
    assert compiled.update.said.startswith("the training step is compiled (")


def test_adam_as_it_is_compiled_is_torchs_from_the_first_step_on():
    for clip in (None, 0.5):
        plain, compiled = Line(clip=clip), traced(clip=clip)
        for steps in (1, 1, 50):
            for line in (plain, compiled):
                line.follow([8] * steps)
            torch.testing.assert_close(compiled.left(), plain.left(), rtol=1e-5, atol=1e-7)


def test_weights_that_have_taken_different_steps_are_not_compiled_together():
    line = traced()
    line.follow([8])
    again = CompiledUpdate(line.measure, line.optimizer, None, backend="eager")
    line.optimizer.state[line.model.bias]["step"] += 1
    with pytest.raises(ValueError, match="differ in steps"):
        again(torch.rand(8, 3), torch.tensor(2.0))


def test_a_batch_of_another_size_goes_the_plain_way():
    plain, compiled = Line(), traced()
    sizes = [8, 8, 5, 8]
    torch.testing.assert_close(compiled.follow(sizes), plain.follow(sizes), rtol=1e-3, atol=1e-4)
    assert_same(compiled, plain)


def test_the_learning_rate_may_change_and_needs_no_other_graph():
    plain, compiled = Line(), traced()
    for rate in (0.1, 0.01, 0.001):
        for line in (plain, compiled):
            line.optimizer.param_groups[0]["lr"] = rate
            line.follow([8], seed=int(1 / rate))
    assert_same(compiled, plain)
    assert compiled.update.failure is None


def test_one_goes_on_where_the_other_was():
    """What Adam remembers is in its own state, whoever took the steps."""
    whole, first, second = Line(), traced(), Line()
    whole.follow([8] * 2, seed=1)
    whole.follow([8] * 2, seed=2)
    first.follow([8] * 2, seed=1)
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.follow([8] * 2, seed=2)
    assert_same(second, whole)

    back = traced()
    back.model.load_state_dict(first.model.state_dict())
    back.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    back.follow([8] * 2, seed=2)
    assert_same(back, whole)


def test_what_cannot_be_compiled_goes_the_plain_way_and_says_so():
    def objective(line):
        def measure(x, scale):
            loss, found = line.measure(x, scale)
            if loss.item() < -1:  # no graph depends on a value
                loss = 2 * loss
            return loss, found

        return measure

    plain, odd = Line(), traced()
    odd.update = CompiledUpdate(objective(odd), odd.optimizer, None, backend="eager")
    assert odd.update.said.startswith("compiling")
    torch.testing.assert_close(odd.follow([8] * 3), plain.follow([8] * 3))
    assert_same(odd, plain)
    assert odd.update.said == f"the training step is not compiled: {odd.update.failure}"


WITHOUT_COMPILER = """
import torch
from vaebalance.training.step import CompiledUpdate, Update

left = []
for kind in (Update, CompiledUpdate):
    torch.manual_seed(0)
    weights = torch.zeros(3, requires_grad=True)
    def objective(x):
        loss = ((x + torch.randn(8, 3)) @ weights - 1).square().mean()
        return loss, loss.detach()
    update = kind(objective, torch.optim.Adam([weights], fused=True), None)
    losses = [update(torch.rand(8, 3)) for _ in range(3)]
    left.append(torch.cat([weights.detach(), torch.stack(losses)]))
assert torch.equal(*left)
print(update.said)
"""


def test_without_a_compiler_it_goes_the_plain_way(tmp_path):
    """In a process of its own: torch remembers what it found of a compiler."""
    none = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER],
        env=os.environ | none,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("the training step is not compiled: ")
