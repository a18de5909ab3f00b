"""Trainings that run together give the same numbers as each alone."""

import math
from dataclasses import dataclass

import pytest
import torch

from vaebalance.balancing import (
    ControlVae,
    Fixed,
    FreeBits,
    Geco,
    OptimalSigma,
    RunFacts,
    WarmUp,
)
from vaebalance.balancing.penalties import DipVae, Mmd, NoPenalty, TotalCorrelation
from vaebalance.base.reports import EpochReport
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.stacking.stack import Stack
from vaebalance.stacking.together import Member, Together, incompatibility
from vaebalance.training.loader import Images
from vaebalance.training.loop import NonFiniteError, TrainSpec, train
from vaebalance.training.precision import bf16_terms, work_of
from vaebalance.training.step import Learner
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, GaussianLearned, GaussianOptimal, Rmse
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

SPEC = TrainSpec(
    epochs=3,
    batch_size=16,
    learning_rate=1e-2,
    gradient_clip=None,
    patience=None,
    checkpoint_every=1,
    device="cpu",
    precision="fp32",
    compile="off",
)
MLP, CONV = Mlp(hidden=(16,)), Conv(channels=(4, 6), hidden=(12,))


def make_images(count=50, seed=0, binarisation="none"):
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(count, 1, 2, 2, generator=generator).round()
    pixels = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3) * 200 + 20
    return Images(pixels.to(torch.uint8), binarisation)


@dataclass(frozen=True)
class Case:
    """The settings of one training."""

    balance: object = Fixed()
    likelihood: object = Bernoulli()
    architecture: object = MLP
    penalty: object = NoPenalty()
    posterior: str = "gaussian"
    seed: int = 0
    rate: float = 1e-2
    clip: float | None = None
    epochs: int = 3

    @property
    def spec(self):
        return SPEC.replace(learning_rate=self.rate, gradient_clip=self.clip, epochs=self.epochs)

    def learner(self):
        spec = ModelSpec(architecture=self.architecture, latent_size=3, posterior=self.posterior)
        with forked(derive_seed(self.seed, "weights")):
            model = VAE(spec, self.likelihood, (1, 8, 8))
        run = RunFacts(dimensions=64, latent_size=3, steps=12, steps_per_epoch=4, sigma=0.1)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.rate, fused=True)
        return Learner(
            model, optimizer, self.balance, self.balance.initial_state(run), self.penalty
        )


def alone(case, binarisation="none"):
    learner = case.learner()
    images = make_images(binarisation=binarisation), make_images(20, 1, binarisation)
    stream = train(learner, *images, case.spec, case.seed)
    return learner, [report for report in stream if isinstance(report, EpochReport)]


def start(cases, binarisation="none"):
    members = [Member(case.learner(), case.spec, case.seed) for case in cases]
    assert incompatibility(members) is None
    images = make_images(binarisation=binarisation), make_images(20, 1, binarisation)
    return members, Together(members, *images)


def in_turn(streams):
    """Read the streams of reports in turn; return the reports of each."""
    found = [[] for _ in streams]
    for _ in range(100):
        for own, stream in zip(found, streams, strict=True):
            own += [report for report in [next(stream, None)] if report is not None]
    return found


def check_same(reports, expected):
    assert [(r.epoch, r.step) for r in reports] == [(r.epoch, r.step) for r in expected]
    for report, lone in zip(reports, expected, strict=True):
        assert report.metrics() == pytest.approx(lone.metrics(), rel=2e-3, abs=1e-3)
        assert report.posterior_stats.rate_by_latent == pytest.approx(
            lone.posterior_stats.rate_by_latent, rel=5e-3, abs=1e-3
        )
        assert report.settled == lone.settled


def check_same_learner(learner, lone):
    for a, b in zip(learner.model.parameters(), lone.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-2)
        ours, theirs = learner.optimizer.state[a], lone.optimizer.state[b]
        assert ours["step"] == theirs["step"]
        torch.testing.assert_close(ours["exp_avg"], theirs["exp_avg"], atol=0.05, rtol=0.05)
    for name, value in lone.balance_state.items():
        torch.testing.assert_close(learner.balance_state[name], value, atol=1e-3, rtol=1e-3)


def check(cases, binarisation="none"):
    members, together = start(cases, binarisation)
    found = in_turn([together.reports(index) for index in range(len(cases))])
    for case, member, reports in zip(cases, members, found, strict=True):
        lone, expected = alone(case, binarisation)
        check_same(reports, expected)
        check_same_learner(member.learner, lone)


GROUPS = {
    "weights": [Case(Fixed(beta=beta)) for beta in (0.1, 1.0, 4.0)],
    "one": [Case()],
    "seeds": [Case(seed=seed) for seed in (0, 1, 0)],
    "rates": [Case(rate=rate, seed=1) for rate in (1e-2, 1e-3, 1e-2)],
    "clips": [Case(clip=clip) for clip in (None, 1.0, 50.0)],
    "conv": [Case(Fixed(beta=beta), architecture=CONV) for beta in (0.1, 1.0)],
    "conv seeds": [Case(architecture=CONV, seed=seed) for seed in (0, 1)],
    "controllers": [Case(ControlVae(rate=3.0)), Case(Geco(rmse=0.2)), Case(FreeBits()), Case()],
    "schedules": [Case(WarmUp(beta=beta)) for beta in (1.0, 3.0)],
    "optimal sigma": [Case(OptimalSigma(), Gaussian(sigma=0.1)) for _ in range(2)],
    "sigmas": [Case(likelihood=Gaussian(sigma=sigma)) for sigma in (0.1, 0.3)],
    "learned": [Case(likelihood=GaussianLearned(initial_sigma=s)) for s in (0.5, 1.0)],
    "optimal": [Case(Fixed(beta=beta), GaussianOptimal()) for beta in (1.0, 2.0)],
    "rmse": [Case(Fixed(alpha=alpha), Rmse()) for alpha in (10.0, 50.0)],
    "penalties": [Case(penalty=TotalCorrelation(weight=w)) for w in (1.0, 4.0)]
    + [Case(penalty=DipVae(weight=2.0)), Case()],
    "autoencoder": [Case(posterior="deterministic", rate=rate) for rate in (1e-3, 1e-2)],
    "epochs": [Case(epochs=epochs) for epochs in (1, 3, 2)],
}


@pytest.mark.parametrize("name", GROUPS)
def test_each_is_what_it_is_alone(name):
    check(GROUPS[name])


def test_black_and_white_drawn_at_each_step_is_drawn_alike():
    check([Case(seed=0), Case(Fixed(beta=2.0)), Case(seed=1)], "dynamic")


def test_in_bf16_too():
    cases = [Case(Fixed(beta=beta)) for beta in (0.5, 2.0)]
    members = [Member(case.learner(), case.spec, case.seed) for case in cases]
    for member in members:
        member.learner.terms = bf16_terms
    exact, rounded = start(cases)[1], Together(members, make_images(), make_images(20, 1))
    a, b = (next(together.reports(0)) for together in (exact, rounded))
    assert b.train.distortion != a.train.distortion
    assert b.train.distortion == pytest.approx(a.train.distortion, rel=0.02)


def test_a_slot_is_freed_and_the_others_go_on():
    cases = [Case(Fixed(beta=beta), seed=seed) for beta, seed in ((1.0, 0), (2.0, 1), (0.5, 0))]
    members, together = start(cases)
    streams = [together.reports(index) for index in range(3)]
    first = [next(stream) for stream in streams]
    streams[1].close()
    weights = [p.detach().clone() for p in members[1].learner.model.parameters()]
    rest = in_turn([streams[0], streams[2]])
    for index, reports in ((0, rest[0]), (2, rest[1])):
        lone, expected = alone(cases[index])
        check_same([first[index], *reports], expected)
        check_same_learner(members[index].learner, lone)
    left = list(members[1].learner.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(left, weights, strict=True))
    # No learner keeps the memory of the others.
    storages = [p.untyped_storage().nbytes() for m in members for p in m.learner.model.parameters()]
    sizes = [p.nbytes for m in members for p in m.learner.model.parameters()]
    assert storages == sizes


def test_one_that_diverges_fails_alone_and_says_what_it_says_alone():
    cases = [Case(), Case(Fixed(alpha=1e30), rate=1e30), Case(seed=1)]
    _, together = start(cases)
    streams = [together.reports(index) for index in range(3)]
    with pytest.raises(NonFiniteError) as lone:
        alone(cases[1])
    first = next(streams[0])
    with pytest.raises(NonFiniteError) as found:
        next(streams[1])
    assert str(found.value) == str(lone.value)
    seconds = [next(streams[2])]
    rest = in_turn([streams[0], streams[2]])
    check_same([first, *rest[0]], alone(cases[0])[1])
    check_same([*seconds, *rest[1]], alone(cases[2])[1])


def test_what_was_trained_together_goes_on_alone_and_the_other_way():
    case, other = Case(WarmUp(beta=2.0)), Case(Fixed(beta=2.0))
    lone, expected = alone(case)
    members, together = start([case, other])
    streams = [together.reports(index) for index in range(2)]
    first, _ = [next(stream) for stream in streams]
    for stream in streams:
        stream.close()
    images = make_images(), make_images(20, 1)
    learner = members[0].learner
    stream = train(learner, *images, case.spec, case.seed, epochs_done=1)
    second = next(report for report in stream if isinstance(report, EpochReport))
    again = [Member(m.learner, m.spec, m.seed, 2) for m in members[:1]]
    third = list(Together(again, *images).reports(0))
    check_same([first, second, *third], expected)
    check_same_learner(learner, lone)


@pytest.mark.parametrize(("limit", "expected"), [(3, 1), (2, 3)])
def test_the_work_of_all_decides_on_how_many_threads(three_threads, monkeypatch, limit, expected):
    case = Case()
    work = work_of(case.learner().model, case.spec.batch_size)
    monkeypatch.setattr("vaebalance.training.precision.THREADS_WORK", limit * work)
    _, together = start([Case(seed=seed) for seed in (0, 1)])
    found, step = set(), Stack.step

    def watched(*inputs):
        found.add(torch.get_num_threads())
        step(*inputs)

    monkeypatch.setattr(Stack, "step", watched)
    next(together.reports(0))
    assert found == {expected}
    assert torch.get_num_threads() == 3


def test_reports_are_read_in_turn():
    _, together = start([Case(), Case()])
    one = together.reports(0)
    next(one)
    with pytest.raises(RuntimeError, match="not read"):
        next(one)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (Case(architecture=Mlp(hidden=(8,))), "shape"),
        (Case(architecture=Mlp(hidden=(16,), activation="tanh")), "shape"),
        (Case(likelihood=Rmse()), "kind"),
        (Case(penalty=Mmd(weight=1.0)), "random"),
    ],
)
def test_what_cannot_be_stacked_is_named(other, why):
    members = [Member(case.learner(), case.spec, case.seed) for case in (Case(), other)]
    assert why in incompatibility(members)


def test_batches_and_epochs_must_be_alike():
    def member(epochs_done=0, **changes):
        return Member(Case().learner(), SPEC.replace(**changes), 0, epochs_done)

    assert incompatibility([member(), member()]) is None
    assert "batch sizes" in incompatibility([member(), member(batch_size=8)])
    assert "epochs" in incompatibility([member(), member(epochs_done=1)])
    odd = member()
    odd.learner.terms = bf16_terms
    assert "precisions" in incompatibility([member(), odd])


def test_time_is_shared_out():
    _, together = start([Case(), Case()])
    reports = [next(together.reports(index)) for index in range(2)]
    assert reports[0].seconds == reports[1].seconds > 0
    assert math.isclose(reports[0].images_per_second, 50 / reports[0].seconds)
