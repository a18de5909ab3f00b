"""Objectives of a study against the evaluation's functions, and on different trainings."""

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from vaebalance.base.errors import UserError
from vaebalance.data import open_dataset, prepare
from vaebalance.evaluation.bounds import importance_weighted_nll
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.evaluation.metrics import VOCABULARY
from vaebalance.evaluation.stage import evaluate
from vaebalance.objectives.objectives import (
    Constrained,
    Frontier,
    Metric,
    NegativeElbo,
    Nll,
    Objective,
    Trained,
)
from vaebalance.run.training_run import Training
from vaebalance.settings import PARAMS, Settings, TrainSettings, parse, read_yaml

SHIPPED = read_yaml(Path(__file__).parents[2] / PARAMS)


@pytest.fixture(scope="module")
def settings():
    raw = copy.deepcopy(SHIPPED)
    raw["data"]["max_images"] = 300
    raw["model"]["architecture"]["hidden"] = [32]
    raw["model"]["latent_size"] = 3
    raw["train"] |= {"epochs": 40, "batch_size": 32, "learning_rate": 0.004, "device": "cpu"}
    raw["evaluate"] |= {"latent_samples": 120, "sample_images": 40}
    return parse(raw)


@pytest.fixture(scope="module")
def dataset(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "prepared"
    prepare(settings.data, settings.seed, folder)
    return open_dataset(folder)


def train(settings, dataset, **sections):
    other = settings.replace(**sections)
    view = {name: getattr(other, name) for name in TrainSettings.model_fields}
    training = Training(TrainSettings.model_validate(view), dataset)
    list(training)
    model = training.learner.model
    model.load_state_dict(training.best_weights)
    model.eval()
    return Trained(model, training.best.validation, dataset, settings.evaluate, settings.seed)


def fixed(beta, alpha=1.0):
    return {"kind": "fixed", "alpha": alpha, "beta": beta}


@pytest.fixture(scope="module")
def trained(settings, dataset):
    return train(settings, dataset, balance=fixed(0.3))


def test_the_negative_elbo_is_the_kept_epochs(trained):
    report = trained.validation
    found = NegativeElbo().measure(trained)
    assert found.values == (report.negative_elbo,)
    assert report.negative_elbo == pytest.approx(report.distortion + report.rate)
    assert report.weighted_loss == pytest.approx(report.distortion + 0.3 * report.rate)


def test_a_frontier_has_both_terms_unweighted(trained):
    report = trained.validation
    assert Frontier().measure(trained).values == (report.distortion, report.rate)
    assert [goal.key for goal in Frontier().goals] == ["distortion", "rate"]


def test_the_nll_is_of_a_gaussian_about_the_means_of_validation_images(trained):
    """Average the K samples by hand, image by image."""
    found = Nll(samples=200).measure(trained)
    model, images = trained.model, measured_images(trained.dataset, "validation", 0)
    x = images.pixels(slice(None), torch.device("cpu"))
    sigma = found.results["calibrated_sigma"]
    torch.manual_seed(1)
    with torch.no_grad():
        posterior = model.encode(x)
        z = posterior.sample(torch.Size([200]))
        means = model.decode(z).mean
        log_p = torch.distributions.Normal(means, sigma).log_prob(x).flatten(2).sum(2)
        log_w = (log_p + model.prior.log_prob(z) - posterior.log_prob(z)).double()
        one = model.decode(posterior.sample()).mean
    by_hand = (math.log(200) - log_w.logsumexp(0)).mean()
    assert found.values[0] == pytest.approx(float(by_hand), abs=0.5)
    assert sigma == pytest.approx(float((one - x).square().mean().sqrt()), rel=0.05)
    assert found.results["nll_standard_error"] > 0
    assert found.results["held_out_marginal_kl"] >= 0
    own = importance_weighted_nll(model, images, samples=200, batch_size=100, seed=0)
    assert abs(own.mean - found.values[0]) > 1  # the model's own likelihood is another


@pytest.mark.parametrize("objective", [Nll(samples=16), Metric(name="samples/own/frechet")])
def test_measuring_again_gives_the_same_bits_and_draws_no_number(trained, objective):
    before = torch.get_rng_state()
    first = objective.measure(trained)
    assert objective.measure(trained) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_the_nll_of_a_scale_the_weighted_loss_takes_for_granted_is_of_what_was_learnt(
    settings, dataset
):
    """Check that the nll sees the same model, but D + R does not: α·SSE is D up to a constant."""
    sigma, alpha = 0.5, 1 / (2 * 0.5**2)
    gaussian = train(settings, dataset, likelihood={"kind": "gaussian", "sigma": sigma})
    squares = train(settings, dataset, likelihood={"kind": "sse"}, balance=fixed(1.0, alpha=alpha))
    nll = [Nll().measure(one).values[0] for one in (gaussian, squares)]
    assert nll[0] == pytest.approx(nll[1], rel=0.02)
    assert abs(gaussian.validation.negative_elbo - squares.validation.negative_elbo) > 5


def test_no_end_of_twelve_decades_wins(settings, dataset):
    """Check that only the weighted loss favours the smallest α."""
    weights = (1e-6, 1.0, 10.0, 1e6)
    models = {a: train(settings, dataset, balance=fixed(1.0, alpha=a)) for a in weights}
    for objective in (Nll(), NegativeElbo()):
        values = {alpha: objective.measure(model).values[0] for alpha, model in models.items()}
        assert min(values, key=values.get) not in (1e-6, 1e6)
    weighted = {alpha: model.validation.weighted_loss for alpha, model in models.items()}
    assert min(weighted, key=weighted.get) == 1e-6


@pytest.mark.parametrize(
    ("spec", "key", "limit_minus_value"),
    [
        ({"distortion": 25.0}, "distortion", 1),
        ({"rmse": 0.2}, "rmse", 1),
        ({"psnr": 14.0}, "psnr", -1),
        ({"minimise": "distortion", "rate": 3.0}, "rate", 1),
    ],
)
def test_a_target_is_missed_by_the_difference(trained, spec, key, limit_minus_value):
    objective = Constrained(**spec)
    found = objective.measure(trained)
    report = {"distortion": trained.validation.distortion, "rate": trained.validation.rate}
    minimised = spec.get("minimise", "rate")
    assert found.values == (report[minimised],)
    assert found.violation == pytest.approx(
        limit_minus_value * ((report | found.results)[key] - spec[key])
    )
    assert f"{key} at {'least' if key == 'psnr' else 'most'}" in objective.target


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rate": 3.0},
        {"rmse": 0.1, "psnr": 20.0},
        {"minimise": "distortion"},
        {"minimise": "distortion", "rmse": 0.1},
    ],
)
def test_a_target_that_does_not_go_with_what_is_minimised_is_refused(spec):
    with pytest.raises(ValidationError, match="needs exactly one target"):
        Constrained(**spec)


@pytest.fixture(scope="module")
def evaluation(trained):
    """Evaluate the whole stage, with validation images in place of the test images."""
    from vaebalance.objectives.objectives import ValidationForTest

    view = ValidationForTest(trained.dataset.folder, trained.dataset.info)
    return evaluate(trained.model, view, trained.evaluate, trained.seed).metrics()


@pytest.mark.parametrize(
    "name",
    [
        "test/ssim",
        "test/calibrated_nll",
        "latents/coverage",
        "latents/held_out_marginal_kl",
        "samples/own/frechet",
    ],
)
def test_a_metric_is_the_evaluations_of_validation_images(trained, evaluation, name):
    found = Metric(name=name).measure(trained)
    assert found.values == (evaluation[name],)
    pattern = name.replace("/own/", "/*/")
    assert Metric(name=name).goals[0].better == VOCABULARY[pattern].better


def test_no_test_image_is_read(trained, tmp_path, monkeypatch):
    """Measure without any test images."""
    for file in trained.dataset.folder.iterdir():
        if not file.name.startswith("test."):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    dataset = dataclasses.replace(trained.dataset, folder=tmp_path)
    blind = dataclasses.replace(trained, dataset=dataset)
    for objective in (Nll(samples=4), Constrained(rmse=0.1), Metric(name="latents/coverage")):
        assert objective.measure(blind) == objective.measure(trained)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test/rate", "neither end of it is better"),
        ("latents/latent_size", "neither end"),
        ("test/rmze", "not a metric.*test/rmse"),
        ("latents/recall_null", "not a metric"),
        ("samples/frechet", "not a metric"),
        ("samples/other/frechet", "not a metric.*samples/own/frechet"),
        ("frechet", "not a metric"),
    ],
)
def test_what_is_no_metric_or_has_no_better_end_is_refused(name, words):
    with pytest.raises(ValidationError, match=words):
        Metric(name=name)


@pytest.mark.parametrize("name", ["disentanglement/mig", "samples/inception/frechet"])
def test_a_metric_that_does_not_apply_says_so(trained, name):
    """Use digits without known factors, and no Inception weights."""
    with pytest.raises(UserError, match=rf"{name}'?: it does not apply"):
        Metric(name=name).measure(trained)


def test_every_metric_with_a_better_end_may_be_named():
    for pattern, measure in VOCABULARY.items():
        name = pattern.replace("*", "own")
        if measure.better:
            assert Metric(name=name).goals[0].better == measure.better


def test_goals_know_which_end_is_better():
    (frechet,), (psnr,) = Metric(name="samples/own/frechet").goals, Metric(name="test/psnr").goals
    assert (frechet.loss(2.0), psnr.loss(2.0)) == (2.0, -2.0)


def test_objectives_are_read_by_their_kind():
    read = TypeAdapter(Objective).validate_json
    assert read('{"kind": "nll"}') == Nll()
    assert read('{"kind": "frontier", "largest_rate": 30}') == Frontier(largest_rate=30.0)
    assert Settings.model_fields["tune"].annotation.model_fields["objective"]
