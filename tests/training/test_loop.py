"""The training step and loop."""

import contextlib
import math

import pytest
import torch

from vaebalance.balancing import (
    Capacity,
    ControlVae,
    Fixed,
    FreeBits,
    Geco,
    OptimalSigma,
    RunFacts,
    WarmUp,
)
from vaebalance.base.reports import EpochReport, StepReport
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.training.loader import Images
from vaebalance.training.loop import (
    NonFiniteError,
    TrainSpec,
    gradient_norms,
    make_step,
    train,
    validate,
)
from vaebalance.training.running_means import RunningMeans
from vaebalance.training.step import Learner
from vaebalance.vae.elbo import elbo_terms, weighted_loss
from vaebalance.vae.likelihoods import Bernoulli, Gaussian, Rmse
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

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


def make_images(count=50, seed=0, binarisation="none") -> Images:
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(count, 1, 2, 2, generator=generator).round()
    pixels = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3) * 200 + 20
    return Images(pixels.to(torch.uint8), binarisation)


def make_learner(
    balance=None, likelihood=None, learning_rate=1e-2, posterior="gaussian"
) -> Learner:
    spec = ModelSpec(architecture=Mlp(hidden=(16,)), latent_size=3, posterior=posterior)
    with forked(0):
        model = VAE(spec, likelihood or Bernoulli(), (1, 8, 8))
    balance = balance or Fixed()
    run = RunFacts(dimensions=64, latent_size=3, steps=12, steps_per_epoch=4, sigma=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    return Learner(model, optimizer, balance, balance.initial_state(run))


def run(learner, spec=SPEC, **options) -> list[EpochReport]:
    stream = train(learner, make_images(), make_images(20, seed=1), spec, seed=0, **options)
    return [report for report in stream if isinstance(report, EpochReport)]


def test_training_lowers_the_weighted_loss():
    reports = run(make_learner(), SPEC.replace(epochs=30))
    assert reports[-1].train.weighted_loss < 0.85 * reports[0].train.weighted_loss
    assert reports[-1].validation.negative_elbo < reports[0].validation.negative_elbo


def test_a_step_is_adam_on_the_weighted_loss():
    """Compare the step with the usual eight lines."""
    ours, naive = make_learner(Fixed(alpha=2.0, beta=0.5)), make_learner()
    images = make_images(16)
    x = images.pixels(slice(None), torch.device("cpu"))
    torch.manual_seed(7)
    ours.step = make_step(ours, images, SPEC, steps=1)
    step = ours.take_step(images.stored)
    torch.manual_seed(7)
    mean, log_variance = naive.model.encoder(x).chunk(2, -1)
    z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    reconstruction = torch.sigmoid(naive.model.decoder(z))
    bce = torch.nn.functional.binary_cross_entropy(reconstruction, x, reduction="sum") / 16
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / 16
    naive.optimizer.zero_grad()
    (2.0 * bce + 0.5 * kl).backward()
    naive.optimizer.step()
    assert step.weights == (2.0, 0.5)
    distortion, _, rate, weighted_distortion, weighted_rate = (step.sums / 16).tolist()
    assert distortion == pytest.approx(bce.item(), rel=1e-5)
    assert rate == pytest.approx(kl.item(), rel=1e-4)
    assert (weighted_distortion, weighted_rate) == pytest.approx((2.0 * distortion, 0.5 * rate))
    for a, b in zip(ours.model.parameters(), naive.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_clipping_bounds_the_gradient():
    learner = make_learner(Fixed(alpha=1e4))
    images = make_images(16)
    learner.step = make_step(learner, images, SPEC.replace(gradient_clip=0.5), steps=1)
    learner.take_step(images.stored)
    averages = [state["exp_avg"] for state in learner.optimizer.state.values()]  # a tenth of it
    squares = [(10 * average).square().sum() for average in averages]
    assert torch.stack(squares).sum().sqrt().item() == pytest.approx(0.5, rel=1e-4)


def subnormals(learner):
    """Count the denormal numbers in Adam's moments."""
    averages = [state["exp_avg"] for state in learner.optimizer.state.values()]
    least = torch.finfo(torch.float32).tiny
    return sum(int(((a.abs() < least) & (a.view(torch.int32) != 0)).sum()) for a in averages)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="a processor that cannot flush")
def test_what_adam_remembers_of_dead_units_is_flushed_and_no_weight_changes(monkeypatch):
    def with_dead_units():
        learner = make_learner()
        with torch.no_grad():
            learner.model.encoder[1].bias[:8] = -1e6
        run(learner, SPEC.replace(epochs=1))
        learner.optimizer.state[learner.model.encoder[1].weight]["exp_avg"][:8] = 1.2e-38
        run(learner, SPEC.replace(epochs=2), epochs_done=1)
        return learner

    flushed = with_dead_units()
    monkeypatch.setattr("vaebalance.base.devices.flushed", contextlib.nullcontext)
    plain = with_dead_units()
    assert subnormals(plain) == 8 * 64
    assert subnormals(flushed) == 0
    assert all(map(torch.equal, flushed.model.parameters(), plain.model.parameters()))


def test_reports_count_epochs_steps_and_images():
    reports = run(make_learner())
    assert [(r.epoch, r.step) for r in reports] == [(1, 4), (2, 8), (3, 12)]
    assert all(r.images_per_second > 0 and r.finished_at > 0 for r in reports)
    assert reports[0].learning_rate == 1e-2


def test_a_report_adds_up():
    for report in run(make_learner(Fixed(alpha=3.0, beta=0.25))):
        for split in (report.train, report.validation):
            assert (split.alpha, split.beta) == (3.0, 0.25)
            assert split.weighted_distortion == pytest.approx(3.0 * split.distortion)
            assert split.weighted_rate == pytest.approx(0.25 * split.rate)
            assert split.weighted_loss == pytest.approx(
                split.weighted_distortion + split.weighted_rate
            )
            assert split.negative_elbo == pytest.approx(split.distortion + split.rate)


def test_metric_names():
    names = set(run(make_learner(), SPEC.replace(epochs=1))[0].metrics())
    parts = {"distortion", "rate", "weighted_distortion", "weighted_rate", "weighted_loss"}
    parts |= {"negative_elbo", "alpha", "beta"}
    expected = {f"{split}/{part}" for split in ("train", "validation") for part in parts}
    assert names == expected | {
        "learning_rate",
        "gradient_norm/distortion",
        "gradient_norm/rate",
        "settled",
        "validation/rmse",
        "validation/predicted_sigma",
    }


def test_a_report_survives_a_dict():
    from dataclasses import asdict

    report = run(make_learner(), SPEC.replace(epochs=1))[0]
    assert EpochReport.from_dict(asdict(report)) == report


def test_the_weights_logged_are_those_used():
    """Warm-up over 8 steps, 4 per epoch: each epoch's mean β is weighted by images."""
    reports = run(make_learner(WarmUp(beta=1.0, steps=8)))
    sizes = [16, 16, 16, 2]
    for epoch, report in enumerate(reports):
        betas = [min(1.0, (4 * epoch + step) / 8) for step in range(4)]
        expected = sum(n * beta for n, beta in zip(sizes, betas, strict=True)) / 50
        assert report.train.beta == pytest.approx(expected)
        assert report.validation.beta == pytest.approx(min(1.0, 4 * (epoch + 1) / 8))


@pytest.mark.parametrize(
    ("balance", "likelihood"),
    [
        (FreeBits(nats=0.05), Bernoulli()),
        (Capacity(capacity=1.0), Bernoulli()),
        (Geco(distortion=30.0, speed=0.5), Bernoulli()),
        (Geco(psnr=15.0, speed=0.5), Bernoulli()),
        (ControlVae(rate=1.0, ki=0.1), Bernoulli()),
        (OptimalSigma(), Gaussian(sigma=0.1)),
    ],
    ids=lambda spec: spec.kind,
)
def test_the_weights_of_every_kind_logged_are_those_used(monkeypatch, balance, likelihood):
    """The epoch's means are those of the weights that `weighted_loss` received."""
    used = []

    def spy(terms, weights):
        used.append((terms.detach(), weights))
        return weighted_loss(terms, weights)

    monkeypatch.setattr("vaebalance.training.step.weighted_loss", spy)
    epochs = run(make_learner(balance, likelihood))
    assert len(used) == 12
    for epoch, report in enumerate(epochs):
        steps = used[4 * epoch : 4 * epoch + 4]
        sizes = [len(terms.distortion) for terms, _ in steps]

        def mean(values, sizes=sizes):
            return sum(n * float(v) for n, v in zip(sizes, values, strict=True)) / 50

        alphas = [torch.as_tensor(w.alpha) for _, w in steps]
        betas = [torch.as_tensor(w.beta) for _, w in steps]
        assert report.train.alpha == pytest.approx(mean(alphas), rel=1e-4)
        assert report.train.beta == pytest.approx(mean(b.mean() for b in betas), rel=1e-4)
        distortions = [a * t.distortion.mean() for a, (t, _) in zip(alphas, steps, strict=True)]
        rates = [
            (b * t.rate_by_latent.mean(0)).sum() for b, (t, _) in zip(betas, steps, strict=True)
        ]
        assert report.train.weighted_distortion == pytest.approx(mean(distortions), rel=1e-4)
        assert report.train.weighted_rate == pytest.approx(mean(rates), rel=1e-4)


def test_reports_say_whether_the_schedule_is_over():
    reports = run(make_learner(WarmUp(steps=8)))
    assert [report.settled for report in reports] == [False, True, True]
    assert [report.metrics()["settled"] for report in reports] == [0.0, 1.0, 1.0]


def test_the_same_seed_trains_the_same_model_and_another_another():
    def weights(seed):
        learner = make_learner()
        for _ in train(learner, make_images(), make_images(20, seed=1), SPEC, seed=seed):
            pass
        return torch.cat([p.flatten() for p in learner.model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_going_on_after_an_epoch_equals_never_stopping():
    """With optimizer and balance kept, the second half is identical to the bit."""
    balance = WarmUp(beta=1.0, steps=9)
    whole, halves = make_learner(balance), make_learner(balance)
    reports = run(whole)
    run(halves, SPEC.replace(epochs=1))
    torch.manual_seed(99)  # the random state in between does not matter
    resumed = run(halves, epochs_done=1)
    assert [r.metrics() for r in resumed] == [r.metrics() for r in reports[1:]]
    for a, b in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_measuring_does_not_change_training():
    """Validation and gradient norms change neither generators nor gradients."""
    learner = make_learner()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = validate(learner, make_images(), SPEC, seed=0)
    gradient_norms(learner, make_images(), SPEC, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in learner.model.parameters())
    assert validate(learner, make_images(), SPEC, seed=0) == first


def test_gradient_norms_are_those_of_the_weighted_terms():
    learner = make_learner(Fixed(alpha=2.0, beta=0.5))
    images = make_images(20)
    norms = gradient_norms(learner, images, SPEC, seed=0)
    with forked(derive_seed(0, "gradient norms")):
        terms = elbo_terms(learner.model, images.pixels(slice(None), torch.device("cpu")))
    for weight, term, norm in (
        (2.0, terms.distortion.mean(), norms.distortion),
        (0.5, terms.rate.mean(), norms.rate),
    ):
        learner.model.zero_grad(set_to_none=True)
        (weight * term).backward(retain_graph=True)
        squares = [p.grad.square().sum() for p in learner.model.parameters() if p.grad is not None]
        assert norm == pytest.approx(math.sqrt(sum(map(float, squares))), rel=1e-5)


def test_the_autoencoder_trains_without_a_rate():
    reports = run(make_learner(posterior="deterministic"))
    assert all(r.train.rate == 0 and r.gradient_norms.rate == 0 for r in reports)
    assert reports[-1].train.distortion < reports[0].train.distortion


def test_rmse_has_its_negative_elbo_from_a_calibrated_gaussian():
    """Otherwise D + R would mix pixel values with nats, and collapse would always win."""
    report = run(make_learner(likelihood=Rmse()), SPEC.replace(epochs=1))[0].validation
    assert report.distortion < 1
    learner = make_learner(likelihood=Rmse())
    images = make_images(20, seed=1)
    split, _ = validate(learner, images, SPEC, seed=0)
    with forked(derive_seed(0, "validation")), torch.no_grad():
        x = images.pixels(slice(None), torch.device("cpu"))
        terms = elbo_terms(learner.model, x)
    mse = terms.distortion.square().mean()
    nats = 32 * torch.log(2 * math.pi * math.e * mse)
    assert split.negative_elbo == pytest.approx(float(nats) + split.rate, rel=1e-5)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_non_finite_value_stops_with_epoch_step_and_term(split):
    learner = make_learner()
    if split == "train":
        learner.optimizer.param_groups[0]["lr"] = 1e30  # step 1 makes the weights useless
        expected = r"is NaN or infinite at epoch 1, step 2"
    else:
        with torch.no_grad():
            learner.model.decoder[0].bias.fill_(float("nan"))
        expected = r"the distortion is NaN or infinite at epoch 1, step 1"
    with pytest.raises(NonFiniteError, match=expected):
        run(learner)


def test_a_non_finite_validation_is_named():
    """Training losses stay finite; the last step makes the validation loss infinite."""
    learner = make_learner()
    learner.optimizer.param_groups[0]["lr"] = 1e30
    spec = SPEC.replace(epochs=1, batch_size=50)  # one step, whose terms are still finite
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 1"):
        run(learner, spec)


def test_running_means_equal_the_plain_means():
    learner = make_learner(Fixed(alpha=2.0, beta=3.0))
    batches = [torch.rand(n, 1, 8, 8) for n in (5, 3, 1)]
    means, distortion, rate = RunningMeans(learner.model, learner.penalty), [], []
    with torch.no_grad():
        for x in batches:
            terms = elbo_terms(learner.model, x)
            means.add(terms, learner.balance.weights({}, terms), {})
            distortion.append(terms.distortion)
            rate.append(terms.rate)
            means.read()  # an intermediate reading changes nothing
    report = means.read()
    assert report.distortion == pytest.approx(torch.cat(distortion).mean().item(), rel=1e-6)
    assert report.rate == pytest.approx(torch.cat(rate).mean().item(), rel=1e-6)
    assert report.weighted_loss == pytest.approx(2 * report.distortion + 3 * report.rate, rel=1e-6)


def test_dynamic_binarisation_draws_anew_in_training_and_the_same_in_validation():
    images = make_images(40, binarisation="dynamic")
    device = torch.device("cpu")
    first, second = (images.pixels(slice(None), device) for _ in range(2))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first, second)
    learner = make_learner()
    assert validate(learner, images, SPEC, seed=0) == validate(learner, images, SPEC, seed=0)


def test_within_an_epoch_its_progress_is_reported(monkeypatch):
    monkeypatch.setattr("vaebalance.training.loop.STEP_REPORT_SECONDS", -1.0)
    stream = list(train(make_learner(), make_images(), make_images(20), SPEC, seed=0))
    steps = [report for report in stream if isinstance(report, StepReport)]
    assert [(r.epoch, r.batch, r.batches) for r in steps[:5]] == [
        *((1, batch, 4) for batch in range(1, 5)),
        (2, 1, 4),
    ]
    epochs = [report for report in stream if isinstance(report, EpochReport)]
    assert steps[3].train == epochs[0].train
    assert all(report.images_per_second > 0 for report in steps)


def test_reading_the_progress_changes_nothing(monkeypatch):
    plain = [report.metrics() for report in run(make_learner())]
    monkeypatch.setattr("vaebalance.training.loop.STEP_REPORT_SECONDS", -1.0)
    assert [report.metrics() for report in run(make_learner())] == plain


def test_a_training_leaves_the_generators_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    stream = train(make_learner(), make_images(), make_images(20), SPEC, seed=0)
    next(report for report in stream if isinstance(report, EpochReport))
    assert torch.equal(torch.get_rng_state(), before)
    stream.close()
    assert torch.equal(torch.get_rng_state(), before)
