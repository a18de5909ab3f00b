"""A training recorded on a CUDA device equals the plain one. Skipped without a CUDA device."""

import pytest
import torch

from tests.helpers.both_steps import RUN
from vaebalance.balancing import (
    Capacity,
    ControlVae,
    Fixed,
    FreeBits,
    Geco,
    OptimalSigma,
    WarmUp,
)
from vaebalance.balancing.penalties import NoPenalty, TotalCorrelation
from vaebalance.base.adam import Adam
from vaebalance.stacking.together import Member, Together
from vaebalance.training.graph_steps import CompiledStep, RecordedStep
from vaebalance.training.loader import Images
from vaebalance.training.loop import TrainSpec, train
from vaebalance.training.precision import COMPILED_CUDA_STEPS, bf16_terms, is_compiled
from vaebalance.training.step import Learner, Step
from vaebalance.vae.elbo import Weights, elbo_terms
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, GaussianOptimal
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SPEC = TrainSpec(
    epochs=3,
    batch_size=16,
    learning_rate=1e-3,
    gradient_clip=10.0,
    patience=None,
    checkpoint_every=1,
    device="cuda",
    precision="fp32",
    compile="auto",
)


TERMS = {"fp32": elbo_terms, "bf16": bf16_terms}


def make_images(binarisation="dynamic"):
    """Return seven batches, the last smaller than the others."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (100, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return Images(pixels, binarisation)


def make_learner(balance=None, likelihood=None, penalty=None, architecture=None, terms=elbo_terms):
    torch.manual_seed(0)
    architecture = architecture or Mlp(hidden=(32,))
    spec = ModelSpec(architecture=architecture, latent_size=4, posterior="gaussian")
    model = VAE(spec, likelihood or Bernoulli(), (1, 8, 8)).to("cuda")
    balance = balance or Fixed()
    state = {name: value.to("cuda") for name, value in balance.initial_state(RUN).items()}
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    return Learner(model, optimizer, balance, state, penalty or NoPenalty(), terms)


def left(learner):
    """Return everything that a training changes."""
    found = [*learner.model.state_dict().values(), *learner.balance_state.values()]
    for weight in learner.model.parameters():
        found += learner.optimizer.state[weight].values()
    return found


def trained(spec, images=None, **parts):
    learner = make_learner(**parts)
    images = images or make_images()
    reports = [r for r in train(learner, images, images, spec, seed=3) if hasattr(r, "validation")]
    return learner, [(r.train, r.validation, r.posterior_stats, r.gradient_norms) for r in reports]


def assert_same(one, other):
    assert all(map(torch.equal, left(one), left(other)))


BALANCES = [
    Fixed(alpha=2.0, beta=0.5),
    WarmUp(steps=10),
    FreeBits(nats=0.1),
    Capacity(capacity=5.0, steps=10),
    Geco(rmse=0.2),
    ControlVae(rate=5.0),
]


@pytest.mark.parametrize("balance", BALANCES, ids=lambda balance: type(balance).__name__)
def test_recorded_it_is_the_same_to_the_last_bit(balance):
    likelihood = Gaussian() if isinstance(balance, Geco) else Bernoulli()
    parts = {"balance": balance, "likelihood": likelihood}
    recorded, told = trained(SPEC, **parts)
    plain, expected = trained(SPEC.replace(compile="off"), **parts)
    assert type(recorded.step) is RecordedStep
    assert recorded.step.failure is None
    assert type(plain.step) is Step
    assert told == expected
    assert_same(recorded, plain)


@pytest.mark.parametrize(
    "parts",
    [
        {"architecture": Conv(channels=(8, 16), hidden=(16,)), "likelihood": Gaussian()},
        {"penalty": TotalCorrelation(weight=2.0)},
        {"likelihood": GaussianOptimal(), "balance": OptimalSigma()},
    ],
    ids=["convolutions", "penalty", "optimal sigma"],
)
def test_so_it_is_with_other_parts(parts):
    images = make_images("none")
    recorded, told = trained(SPEC, images, **parts)
    plain, expected = trained(SPEC.replace(compile="off"), images, **parts)
    assert recorded.step.failure is None
    assert told == expected
    assert_same(recorded, plain)


def test_the_same_seed_gives_the_same_numbers():
    parts = {"architecture": Conv(channels=(8, 16), hidden=(16,)), "likelihood": Gaussian()}
    images = make_images("none")
    (one, first), (other, second) = (trained(SPEC, images, **parts) for _ in range(2))
    assert first == second
    assert_same(one, other)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_it_is_the_same_but_for_rounding(precision):
    images = make_images("none")  # (torch before 2.15 compiles the draws of the other otherwise)
    found = []
    for compile in ("on", "off"):
        spec = SPEC.replace(compile=compile)
        found.append(trained(spec, images, terms=TERMS[precision])[0])
    compiled, plain = found
    assert type(compiled.step) is CompiledStep
    assert compiled.step.failure is None
    torch.testing.assert_close(left(compiled), left(plain), rtol=0.02, atol=2e-3)


def test_long_trainings_are_compiled():
    model = make_learner(architecture=Conv(channels=(8,), hidden=(8,))).model
    assert is_compiled("auto", model, COMPILED_CUDA_STEPS)
    assert not is_compiled("auto", model, COMPILED_CUDA_STEPS - 1)


def test_what_cannot_be_recorded_goes_the_plain_way_and_says_so():
    class Waiting(Fixed):
        def weights(self, state, terms):
            return Weights(2.0 if terms.distortion.sum().item() < -1 else 1.0, 1.0)

    (odd, told), (plain, expected) = (
        trained(SPEC.replace(compile=how), balance=Waiting()) for how in ("auto", "off")
    )
    assert odd.step.status.startswith("the training step is not recorded: ")
    assert told == expected
    assert_same(odd, plain)
    recorded, _ = trained(SPEC)  # the failure leaves the device usable
    plain, _ = trained(SPEC.replace(compile="off"))
    assert recorded.step.failure is None
    assert_same(recorded, plain)


def test_images_live_on_the_device_or_are_read_ahead(monkeypatch):
    images, device = make_images("none"), torch.device("cuda")
    order = torch.randperm(100)
    near = images.to(device)
    assert near.stored.is_cuda
    monkeypatch.setattr("vaebalance.training.loader.free_bytes", lambda device: 1000)
    far = images.to(device)
    assert not far.stored.is_cuda
    expected = [images.stored[part] for part in order.split(16)]
    for place in (near, far):
        found = [place.read(batch) for batch in place.batches(order, 16, device)]
        assert all(batch.is_cuda for batch in found)
        assert all(map(torch.equal, (batch.cpu() for batch in found), expected))


def test_a_training_on_images_that_do_not_fit_is_the_same(monkeypatch):
    near, told = trained(SPEC)
    monkeypatch.setattr("vaebalance.training.loader.free_bytes", lambda device: 0)
    far, expected = trained(SPEC)
    assert told == expected
    assert_same(near, far)


def stacked(compile, groups):
    """Train together; return the state of each learner and its reports."""
    spec = SPEC.replace(compile=compile)
    members = [Member(make_learner(**parts), spec, seed) for seed, parts in enumerate(groups)]
    images = make_images()
    together = Together(members, images, images)
    streams = [together.reports(index) for index in range(len(members))]
    reports = [list(epoch) for epoch in zip(*streams, strict=True)]
    told = [
        [(r.train, r.validation, r.posterior_stats, r.gradient_norms) for r in row]
        for row in reports
    ]
    return together, [member.learner for member in members], told


STACKS = {
    "weights": [{"balance": Fixed(beta=beta)} for beta in (0.1, 1.0, 4.0)],
    "controllers": [{"balance": ControlVae(rate=3.0)}, {"balance": FreeBits()}, {}],
    "penalties": [{"penalty": TotalCorrelation(weight=2.0)}, {}],
    "optimal": [{"likelihood": GaussianOptimal(), "balance": Fixed(beta=b)} for b in (1.0, 2.0)],
    "bf16": [{"terms": bf16_terms, "balance": Fixed(beta=beta)} for beta in (0.5, 2.0)],
}


@pytest.mark.filterwarnings("error")  # a step that is not recorded warns
@pytest.mark.parametrize("name", STACKS)
def test_a_recorded_stack_is_the_same_to_the_last_bit(name):
    recorded, ours, told = stacked("auto", STACKS[name])
    plain, theirs, expected = stacked("off", STACKS[name])
    assert recorded._training.is_recorded
    assert not plain._training.is_recorded
    assert told == expected
    for one, other in zip(ours, theirs, strict=True):
        assert_same(one, other)


@pytest.mark.filterwarnings("error")
def test_a_recorded_stack_goes_on_with_those_that_are_left():
    parts = STACKS["weights"]
    members = [Member(make_learner(**part), SPEC, 0) for part in parts]
    images = make_images()
    together = Together(members, images, images)
    streams = [together.reports(index) for index in range(len(members))]
    for stream in streams:
        next(stream)
    streams[1].close()
    left_over = [list(stream) for stream in zip(streams[0], streams[2], strict=True)]
    assert len(left_over) == SPEC.epochs - 1
    for part, member in ((parts[0], members[0]), (parts[2], members[2])):
        lone = make_learner(**part)
        for _ in train(lone, images, images, SPEC, seed=0):
            pass
        torch.testing.assert_close(left(member.learner), left(lone), rtol=0.02, atol=2e-3)
