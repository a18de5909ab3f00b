"""A curve's training gives the same numbers for the same seed, and a trade-off."""

import functools
import math

import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.base.reports import CurveReport
from vaebalance.curve.curve_training import curve_training, draw_betas, shared_weights
from vaebalance.evaluation.bounds import elbo_parts
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.training import loop as training
from vaebalance.training.graph_steps import CompiledStep
from vaebalance.training.loop import NonFiniteError
from vaebalance.vae.elbo import elbo_terms

METHODS = ["conditioned", "continuation"]


def epochs_of(training):
    return [report for report in training if isinstance(report, CurveReport)]


def weights_of(curve, beta=1.0):
    return curve.model_at(beta).state_dict()


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_curve(digits, curve_settings, train_curve, method):
    settings = curve_settings(curve={"method": method, "low": 0.1, "high": 1.0, "points": 2})
    settings = settings.replace(train=settings.train.replace(epochs=3))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = weights_of(train_curve(settings, digits))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(first, weights_of(train_curve(settings, digits)))
    assert not same(first, weights_of(train_curve(settings.replace(seed=1), digits)))


@pytest.mark.parametrize("method", METHODS)
def test_rate_falls_and_distortion_rises_with_beta(request, digits, method):
    curve = request.getfixturevalue(method)
    images = measured_images(digits, "test", 0)
    parts = [
        elbo_parts(curve.model_at(beta), images, samples=4, batch_size=1024, seed=0)
        for beta in curve.betas(3)
    ]
    rates, distortions = [p.rate for p in parts], [p.distortion for p in parts]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 10 * rates[-1]
    assert distortions == sorted(distortions)


@pytest.mark.parametrize("method", METHODS)
def test_a_small_net_is_trained_on_one_thread_and_its_reader_has_all(
    digits, curve_settings, three_threads, monkeypatch, method
):
    curve = {"method": method, "points": 2, "factor": 1.0}
    made = curve_training(curve_settings(train={"epochs": 2}, curve=curve), digits)
    found, step = set(), made._step

    def watched(*inputs):
        found.add(torch.get_num_threads())
        return step(*inputs)

    monkeypatch.setattr(made, "_step", watched)
    assert {torch.get_num_threads() for _ in made} == {3}
    assert found == {1}


def test_epochs_are_a_multiple_of_trains(digits, curve_settings):
    few = {"epochs": 6}
    reports = epochs_of(curve_training(curve_settings(train=few, curve={"factor": 0.5}), digits))
    assert [(r.epoch, r.epochs, r.beta) for r in reports] == [(i, 3, None) for i in (1, 2, 3)]
    curve = {"factor": 0.5, "method": "continuation", "points": 3}
    sweep = curve_training(curve_settings(train=few | {"epochs": 8}, curve=curve), digits)
    assert [r.beta for r in epochs_of(sweep)] == pytest.approx([0.01, 0.01, math.sqrt(0.1), 10.0])


def test_a_report_is_of_the_images_it_saw(digits, curve_settings):
    """With a step size near 0 the model stays the same, and D and R are the initial ones."""
    settings = curve_settings(train={"epochs": 1, "learning_rate": 1e-30}, curve={"factor": 1.0})
    training = curve_training(settings, digits)
    (report,) = epochs_of(training)
    model = training.curve.model_at(1.0)  # FiLM starts as the identity at every β
    images = measured_images(digits, "train", 0)
    parts = elbo_parts(model, images, samples=8, batch_size=1024, seed=0)
    assert report.train.distortion == pytest.approx(parts.distortion, rel=0.01)
    assert report.train.rate == pytest.approx(parts.rate, rel=1e-4)


@pytest.mark.parametrize("group", [1, 3, 1_000_003])
def test_a_step_descends_the_loss_with_a_beta_for_each_group(digits, curve_settings, group):
    """Adam's first step is the sign of the gradient, computed here by hand."""
    settings = curve_settings(
        train={"epochs": 1, "batch_size": 2000, "gradient_clip": None},
        curve={"factor": 1.0, "group": group},
    )
    training = curve_training(settings, digits)
    images = len(digits.images("train"))
    shared = 3 if group == 3 else 1  # a group that does not divide the batch is reduced
    assert images % 3 == 0
    before = [p.detach().clone() for p in training.model.parameters()]
    from vaebalance.base.seeds import derive_seed, forked
    from vaebalance.data import to_pixels

    with forked(derive_seed(settings.seed, "curve epoch", 1)):
        order = torch.randperm(len(digits.images("train")))
        x = to_pixels(digits.images("train")[order], "none")
        betas = draw_betas(settings.curve, images // shared)
        terms = elbo_terms(training.model.given(betas), x)
        each = betas.repeat_interleave(shared)
        alpha = (1 + each) ** -settings.curve.sharing
        (alpha * (terms.distortion + each * terms.rate)).mean().backward()
    gradients = [p.grad.clone() for p in training.model.parameters()]
    list(training)
    rate = settings.train.learning_rate
    for old, new, gradient in zip(before, training.model.parameters(), gradients, strict=True):
        moving = gradient.abs() > 1e-4
        expected = -rate * gradient.sign()
        torch.testing.assert_close((new - old)[moving], expected[moving], rtol=1e-2, atol=1e-6)


def place_of(betas):
    """Return the uniform variables from which `draw_betas` computed `betas`."""
    return made_even((betas.double().log10() + 2) / 3)


def made_even(place):
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    bent = 0.25 * u + 0.75 * torch.sin(torch.pi * u / 2) ** 2
    return u[torch.searchsorted(bent, place).clamp(max=100_000)]


def test_betas_are_drawn_over_the_whole_range_the_ends_most_often(curve_settings):
    spec = curve_settings().curve
    torch.manual_seed(0)
    betas = draw_betas(spec, 100_000)
    assert betas.min() >= spec.low
    assert betas.max() <= spec.high
    density = torch.histc(betas.log10(), 100, -2, 1) / 1000  # 1: uniform
    end = 100 * made_even(torch.tensor(0.01, dtype=torch.float64)).item()  # steep near the end
    expected = [end, 1 / (0.25 + 0.75 * math.pi / 2), end]
    torch.testing.assert_close(density[[0, 49, 99]], torch.tensor(expected), atol=0.1, rtol=0)
    shares = torch.histc(place_of(betas), 10, 0, 1) / 100_000
    torch.testing.assert_close(shares, torch.full((10,), 0.1).double(), atol=1e-3, rtol=0)


def test_few_betas_are_spread_over_the_whole_range(curve_settings):
    """Each of equal parts has one β, uniform within it."""
    spec = curve_settings().curve
    torch.manual_seed(0)
    draws = torch.stack([place_of(draw_betas(spec, 4)) for _ in range(2000)])
    assert ((draws * 4).floor().clamp(max=3) == torch.arange(4)).float().mean() > 0.999
    within = draws * 4 - torch.arange(4)
    half, twelfth = (torch.full((4,), value).double() for value in (0.5, 1 / 12))
    torch.testing.assert_close(within.mean(0), half, atol=0.03, rtol=0)
    torch.testing.assert_close(within.var(0), twelfth, atol=0.01, rtol=0)


def test_images_share_weights_by_the_ratio_that_they_were_given():
    betas = torch.tensor([0.01, 1.0, 10.0])
    alpha, beta = shared_weights(betas, 0.7)
    torch.testing.assert_close(beta[:, 0] / alpha, betas)
    torch.testing.assert_close(alpha, torch.tensor([1.01, 2.0, 11.0]) ** -0.7)


def test_the_learning_rate_falls_along_a_cosine(digits, curve_settings):
    settings = curve_settings(train={"epochs": 4}, curve={"factor": 1.0})
    training = curve_training(settings, digits)
    group = training._learner.optimizer.param_groups[0]
    reports = (report for report in training if isinstance(report, CurveReport))
    rates = [group["lr"] / 0.003 for _ in reports]
    batches = training.steps_per_epoch
    expected = [
        0.5 * (1 + math.cos(math.pi * (e * batches - 1) / (4 * batches))) for e in (1, 2, 3, 4)
    ]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_its_step_can_be_compiled(digits, curve_settings, monkeypatch, method):
    """The step is traced, but no code is generated."""
    traced = functools.partial(CompiledStep, backend="eager")
    monkeypatch.setattr(training, "CompiledStep", traced)
    curves = []
    for compile in ("on", "off"):
        train = {"compile": compile, "epochs": 2}
        settings = curve_settings(curve={"method": method, "points": 2}, train=train)
        run = curve_training(settings, digits)
        reports = epochs_of(run)
        step = run._learner.step
        assert isinstance(step, CompiledStep) == (compile == "on")
        assert getattr(step, "failure", None) is None
        curves.append([(report.train.distortion, report.train.rate) for report in reports])
    for compiled, plain in zip(*curves, strict=True):
        assert compiled == pytest.approx(plain, rel=0.02, abs=0.02)


def test_a_continuation_warm_starts(digits, curve_settings, train_curve):
    """Each β starts with the final weights of the β before."""
    curve = {"method": "continuation", "points": 2, "factor": 1.0}
    settings = curve_settings(train={"epochs": 2, "learning_rate": 1e-30}, curve=curve)
    found = train_curve(settings, digits)
    assert same(weights_of(found, found.low), weights_of(found, found.high))
    settings = curve_settings(train={"epochs": 2}, curve=curve)
    found = train_curve(settings, digits)
    assert not same(weights_of(found, found.low), weights_of(found, found.high))


def test_a_sweep_is_whole_before_it_is_a_curve(digits, curve_settings):
    training = curve_training(curve_settings(curve={"method": "continuation"}), digits)
    with pytest.raises(ValueError, match="iterate the training to its end"):
        _ = training.curve


def test_a_continuation_takes_a_likelihood_that_learns_its_scale(
    digits, curve_settings, train_curve
):
    sections = {"likelihood": {"kind": "gaussian_optimal"}, "train": {"epochs": 2}}
    curve = {"method": "continuation", "points": 2}
    found = train_curve(curve_settings(curve=curve, **sections), digits)
    low, high = (found.model_at(beta).likelihood_parameters.variance for beta in (0.01, 10.0))
    assert low != high
    with pytest.raises(UserError, match=r"likelihood\.kind = 'gaussian_optimal'"):
        curve_training(curve_settings(**sections), digits)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"posterior": "deterministic"}}, "no trade-off to trace"),
        ({"penalty": {"kind": "mmd", "weight": 1.0}}, r"penalty\.kind = 'mmd'"),
        (
            {"curve": {"method": "continuation", "points": 1000}, "train": {"epochs": 1}},
            r"curve\.points = 1000: the sweep has \d+ steps",
        ),
    ],
)
def test_what_has_no_curve_is_refused(digits, curve_settings, sections, words):
    with pytest.raises(UserError, match=words):
        curve_training(curve_settings(**sections), digits)


@pytest.mark.parametrize("method", METHODS)
def test_a_diverged_training_says_so(digits, curve_settings, method):
    settings = curve_settings(
        train={"learning_rate": 1e18, "gradient_clip": None}, curve={"method": method}
    )
    with pytest.raises(NonFiniteError, match="NaN or infinite at epoch 1"):
        list(curve_training(settings, digits))


RESUMED = {
    "conditioned": {"curve": {"method": "conditioned", "factor": 1.0}},
    "continuation": {
        "curve": {"method": "continuation", "factor": 1.0, "points": 4},
        "likelihood": {"kind": "gaussian_optimal"},  # has a buffer
    },
}


def models_of(curve):
    """Return the models of a curve as they are saved."""
    if hasattr(curve, "model"):
        return curve.model.state_dict()
    return {f"{b}/{n}": v for b, vae in curve.snapshots for n, v in vae.state_dict().items()}


def stopped_after(settings, dataset, epoch, path, fingerprint="f"):
    """Stop a training after `epoch`, as a kill in the next one does."""
    training = curve_training(settings, dataset)
    training.resume(path, fingerprint)
    for report in training:
        if isinstance(report, CurveReport) and report.epoch == epoch:
            break
    return training


@pytest.mark.usefixtures("quick_checkpoints")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 7, 8])
def test_a_killed_training_goes_on_as_if_never_killed(
    digits, curve_settings, tmp_path, monkeypatch, method, stop
):
    """Kill at an epoch with a checkpoint, one without, the last, and in the middle of a β."""
    settings = curve_settings(train={"epochs": 8, "checkpoint_every": 3}, **RESUMED[method])
    whole = curve_training(settings, digits)
    reports = epochs_of(whole)
    path = tmp_path / "c.pt"
    stopped_after(settings, digits, stop, path)
    again = curve_training(settings, digits)
    trained = []
    batches = again.batches
    monkeypatch.setattr(again, "batches", lambda n: trained.append(n) or batches(n))
    again.resume(path, "f")
    assert epochs_of(again) == reports
    kept = {1: 0, 7: 6, 8: 8}[stop]
    assert trained == list(range(kept + 1, 9))
    before, after = models_of(whole.curve), models_of(again.curve)
    assert before.keys() == after.keys()
    assert same(before, after)


def test_a_checkpoint_of_another_training_is_left_alone(digits, curve_settings, tmp_path):
    settings = curve_settings(train={"epochs": 2}, curve={"factor": 1.0})
    path = tmp_path / "c.pt"
    stopped_after(settings, digits, 1, path, fingerprint="other")
    other = curve_training(settings, digits)
    other.resume(path, "f")
    assert other.history == []
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=r"c\.pt: not a readable checkpoint"):
        other.resume(path, "f")
