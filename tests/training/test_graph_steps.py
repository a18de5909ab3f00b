"""A compiled step gives the numbers of the plain one, also if it cannot be compiled."""

import copy
import os
import subprocess
import sys

import pytest
import torch

from vaebalance.balancing import WarmUp
from vaebalance.training.graph_steps import CompiledStep
from vaebalance.training.loader import Images
from vaebalance.training.step import Learner, Step
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

IMAGES = Images(
    torch.randint(0, 256, (64, 1, 2, 2), generator=torch.Generator().manual_seed(0)).byte(), "none"
)


class Run:
    """A small training."""

    def __init__(self, kind=Step, clip=None, optimizer=None, **options):
        torch.manual_seed(0)
        spec = ModelSpec(architecture=Mlp(hidden=(3,)), latent_size=2, posterior="gaussian")
        self.model = VAE(spec, Bernoulli(), (1, 2, 2))
        make = optimizer or (lambda weights: torch.optim.Adam(weights, lr=0.1, fused=True))
        self.optimizer = make(self.model.parameters())
        state = {name: torch.tensor(value) for name, value in STATE.items()}
        self.learner = Learner(self.model, self.optimizer, WarmUp(), state)
        self.learner.step = kind(self.learner, IMAGES, clip, **options)

    def follow(self, sizes, seed=1):
        """Take steps on batches of these sizes and return their sums."""
        torch.manual_seed(seed)
        batches = (torch.randint(0, 64, (size,)) for size in sizes)
        return [self.learner.take_step(IMAGES.stored[batch]).sums for batch in batches]

    def left(self):
        """Return the weights, the optimizer's state and the balance's state."""
        kept = [*self.model.parameters(), *self.learner.balance_state.values()]
        for weight in self.model.parameters():
            kept += [v for v in self.optimizer.state[weight].values() if v is not None]
        return kept

    @property
    def step(self):
        return self.learner.step


STATE = {"step": 0, "duration": 20, "planned": 20}


def traced(**options):
    return Run(CompiledStep, backend="eager", **options)


def assert_same(one, other):
    torch.testing.assert_close(one.left(), other.left(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("backend", "clip"), [("eager", None), ("eager", 0.5), ("inductor", 0.5)])
def test_compiled_it_is_the_same(clip, backend):
    """Compare draws, clipping, Adam and results, and run the generated code."""
    plain, compiled = Run(clip=clip), Run(CompiledStep, clip=clip, backend=backend)
    sizes = [8] * 5
    expected = plain.follow(sizes)  # first: torch's compiler cannot look up a new pair's KL
    torch.testing.assert_close(compiled.follow(sizes), expected, rtol=1e-3, atol=1e-4)
    assert_same(compiled, plain)
    assert compiled.step.failure is None
    assert compiled.step.status.startswith("the training step is compiled (")
    assert all(weight.grad is None for weight in compiled.model.parameters())


def test_adam_as_it_is_compiled_is_torchs_from_the_first_step_on():
    for clip in (None, 0.5):
        plain, compiled = Run(clip=clip), traced(clip=clip)
        for steps in (1, 1, 50):
            for run in (plain, compiled):
                run.follow([8] * steps)
            torch.testing.assert_close(compiled.left(), plain.left(), rtol=1e-4, atol=1e-6)


def test_weights_that_have_taken_different_steps_are_not_compiled_together():
    plain, run = Run(), traced()
    for each in (plain, run):
        each.follow([8])
        each.optimizer.state[each.model.encoder[1].bias]["step"] += 1
    run.learner.step = CompiledStep(run.learner, IMAGES, None, backend="eager")
    for each in (plain, run):
        each.follow([8])
    assert_same(run, plain)
    assert run.step.status == (
        "the training step is not compiled: its weights have taken different numbers of steps"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
        lambda weights: torch.optim.Adam(weights, lr=0.01, weight_decay=0.1),
    ],
    ids=["SGD", "weight decay"],
)
def test_another_optimizer_than_plain_adam_takes_plain_steps_and_says_so(make):
    plain, run = Run(optimizer=make), traced(optimizer=make)
    assert run.follow([8] * 3)[-1].equal(plain.follow([8] * 3)[-1])
    assert all(map(torch.equal, run.left(), plain.left()))
    assert "is not a plain Adam" in run.step.status


def test_a_batch_of_another_size_goes_the_plain_way():
    plain, compiled = Run(), traced()
    sizes = [8, 8, 5, 8]
    torch.testing.assert_close(compiled.follow(sizes), plain.follow(sizes), rtol=1e-3, atol=1e-4)
    assert_same(compiled, plain)


def test_the_learning_rate_may_change_and_needs_no_other_graph():
    plain, compiled = Run(), traced()
    for rate in (0.1, 0.01, 0.001):
        for run in (plain, compiled):
            run.optimizer.param_groups[0]["lr"] = rate
            run.follow([8], seed=int(1 / rate))
    assert_same(compiled, plain)
    assert compiled.step.failure is None


def test_one_goes_on_where_the_other_was():
    """The optimizer's own state has Adam's moments, whichever kind of step was taken."""
    whole, first, second = Run(), traced(), Run()
    whole.follow([8] * 2, seed=1)
    whole.follow([8] * 2, seed=2)
    first.follow([8] * 2, seed=1)
    for run in (second, traced()):
        run.model.load_state_dict(first.model.state_dict())
        run.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
        run.learner.balance_state = first.learner.balance_state
        run.follow([8] * 2, seed=2)
        assert_same(run, whole)
        assert getattr(run.step, "failure", None) is None


def test_what_cannot_be_compiled_goes_the_plain_way_and_says_so():
    class Odd(WarmUp):
        def weights(self, state, terms):
            found = super().weights(state, terms)
            # A graph must not depend on a tensor's value.
            return found if terms.distortion.sum().item() > -1 else found._replace(alpha=2.0)

    plain, odd = Run(), traced()
    odd.learner.balance = Odd()
    assert odd.step.status.startswith("compiling")
    torch.testing.assert_close(odd.follow([8] * 3), plain.follow([8] * 3))
    assert_same(odd, plain)
    assert odd.step.status == f"the training step is not compiled: {odd.step.failure}"


def test_a_weight_that_the_loss_does_not_depend_on_stays_also_after_a_resume():
    runs = [Run(), traced()]
    for run in runs:
        run.model.decoder.register_parameter("idle", torch.nn.Parameter(torch.ones(2)))
        run.optimizer.add_param_group({"params": []})
        run.optimizer.param_groups.pop()
        run.optimizer.param_groups[0]["params"].insert(0, run.model.decoder.idle)
        run.follow([8] * 2)
        if run is runs[1]:
            assert run.step.failure is None
            run.learner.step = CompiledStep(run.learner, IMAGES, None, backend="eager")
        run.follow([8] * 2)
        assert run.model.decoder.idle.tolist() == [1, 1]
    plain, compiled = ([*run.model.parameters()] for run in runs)
    torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=1e-6)
    assert runs[1].step.failure is None


WITHOUT_COMPILER = """
import torch
from vaebalance.balancing import Fixed
from vaebalance.training.graph_steps import CompiledStep
from vaebalance.training.loader import Images
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp
from vaebalance.base.adam import Adam
from vaebalance.training.step import Learner, Step

left = []
for kind in (Step, CompiledStep):
    torch.manual_seed(0)
    spec = ModelSpec(architecture=Mlp(hidden=(3,)), latent_size=2, posterior="gaussian")
    model = VAE(spec, Bernoulli(), (1, 2, 2))
    learner = Learner(model, Adam(model.parameters(), lr=0.1, fused=True), Fixed(), {})
    images = Images(torch.randint(0, 256, (8, 1, 2, 2)).byte(), "none")
    learner.step = kind(learner, images, None)
    sums = [learner.take_step(images.stored).sums for _ in range(3)]
    left.append(torch.cat([*sums, *(weight.detach().flatten() for weight in model.parameters())]))
assert torch.equal(*left)
print(learner.step.status)
"""


def test_without_a_compiler_it_goes_the_plain_way(tmp_path):
    """Use a separate process, since torch remembers whether it found a compiler."""
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
