"""The whole evaluation: which measures apply to which model, and that it changes nothing."""

import csv
import math
from typing import get_args

import numpy as np
import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.data import SPLITS, open_dataset, prepare
from vaebalance.evaluation import stage
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.posterior_moments import PosteriorMoments
from vaebalance.evaluation.results import write
from vaebalance.evaluation.sections import known_factors
from vaebalance.evaluation.sections.context import EvaluationContext
from vaebalance.evaluation.stage import evaluate
from vaebalance.vae.likelihoods import (
    Bernoulli,
    DiscretisedLogistic,
    Gaussian,
    GaussianOptimal,
    Likelihood,
    Rmse,
    Sse,
)
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

SPEC = EvaluateSpec(
    nll_samples=8,
    batch_size=64,
    active_threshold=0.01,
    latent_samples=100,
    sample_images=0,
    inception_weights=None,
)


def test_a_vaes_numbers_hang_together(make_vae, make_dataset):
    model, dataset = make_vae(), make_dataset()
    found = evaluate(model, dataset, SPEC, 0)
    test = found.test
    assert test.negative_elbo == pytest.approx(test.distortion + test.rate)
    assert test.importance_weighted_nll < test.negative_elbo
    assert test.importance_weighted_nll_standard_error > 0
    assert 1 <= test.effective_sample_size <= 8
    assert (test.bits_per_dim, test.negative_elbo_bits_per_dim) == (None, None)
    assert test.calibrated_nll_standard_error > 0
    assert 1 <= test.calibrated_effective_sample_size <= 8
    latents = found.latents
    rate_of_them = latents.mutual_information + latents.marginal_kl
    assert rate_of_them == pytest.approx(test.rate, rel=1e-5)  # of all 90 images, too
    assert latents.mutual_information_ceiling == pytest.approx(math.log(90))
    assert found.latent_table.rate.sum() == pytest.approx(test.rate)
    assert found.latent_table.active.sum() == found.latents.active_units
    active = found.latent_table.variance_of_mean > 0.01
    assert (found.latent_table.active == active).all()
    assert (found.settings.images, found.settings.nll_samples) == (90, 8)
    assert found.settings.ssim_window == 7


def test_the_same_seed_gives_the_same_numbers_and_disturbs_nothing(make_vae, make_dataset):
    model, dataset = make_vae(Rmse()), make_dataset(binarisation="dynamic")
    weights = [parameter.clone() for parameter in model.parameters()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = evaluate(model, dataset, SPEC, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert evaluate(model, dataset, SPEC, 0).metrics() == first.metrics()
    assert evaluate(model, dataset, SPEC, 1).metrics() != first.metrics()
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert model.likelihood == Rmse()


def test_all_measures_are_of_the_same_draw_of_the_pixels(make_vae, make_dataset):
    """Check that dynamic binarisation gives the same RMSE for any batch size."""
    model, dataset = make_vae(), make_dataset(binarisation="dynamic")
    sizes = (SPEC.replace(nll_samples=1, batch_size=size) for size in (64, 90))
    one, two = (evaluate(model, dataset, spec, 0) for spec in sizes)
    assert one.test.rmse == pytest.approx(two.test.rmse, rel=1e-6)
    assert one.test.rate == pytest.approx(two.test.rate, rel=1e-6)


def test_bits_per_dim_on_binarised_pixels(make_vae, make_dataset):
    black_or_white = torch.where(make_dataset().images("test") > 127, 255, 0).to(torch.uint8)
    dataset = make_dataset(test=black_or_white, binarisation="threshold")
    test = evaluate(make_vae(), dataset, SPEC, 0).test
    assert test.bits_per_dim == pytest.approx(test.importance_weighted_nll / (64 * math.log(2)))
    bits = test.negative_elbo / (64 * math.log(2))
    assert test.negative_elbo_bits_per_dim == pytest.approx(bits)
    assert evaluate(make_vae(Gaussian()), dataset, SPEC, 0).test.bits_per_dim is None


@pytest.mark.parametrize("likelihood", [Bernoulli(), Rmse()])
def test_of_an_autoencoder_only_what_applies_is_measured(make_vae, make_dataset, likelihood):
    spec = SPEC.replace(active_threshold=0.0)
    found = evaluate(make_vae(likelihood, "deterministic"), make_dataset(), spec, 0)
    absent = {name for name, value in found.metrics().items() if value is None}
    bounds = {
        "rate",
        "negative_elbo",
        "negative_elbo_bits_per_dim",
        "importance_weighted_nll",
        "importance_weighted_nll_standard_error",
        "effective_sample_size",
        "bits_per_dim",
        "calibrated_nll",
        "calibrated_nll_standard_error",
        "calibrated_effective_sample_size",
    } | (set() if likelihood == Rmse() else {"calibrated_sigma"})
    information = {
        "mutual_information",
        "mutual_information_standard_error",
        "mutual_information_ceiling",
        "marginal_kl",
        "held_out_marginal_kl",
        "held_out_marginal_kl_standard_error",
    }
    probe = {"probe_accuracy", "probe_accuracy_standard_error", "probe_accuracy_chance"}
    assert absent == {"samples", "disentanglement"} | {
        *(f"test/{name}" for name in bounds),
        *(f"latents/{name}" for name in information | probe),
    }
    assert found.latent_table.rate is None
    assert found.latents.active_units == 3


def test_rmse_is_scored_with_a_gaussian_calibrated_on_validation(make_vae, make_dataset):
    model = make_vae(Rmse(), "deterministic")
    validation = torch.full((40, 1, 8, 8), 128, dtype=torch.uint8)
    found = evaluate(model, make_dataset(validation=validation), SPEC, 0)

    def errors(images):
        x = images / 255
        return (torch.sigmoid(model.decoder(model.encoder(x))) - x).detach().double()

    sigma = errors(validation).square().mean().sqrt().item()
    assert found.test.calibrated_sigma == pytest.approx(sigma, rel=1e-5)
    squares = errors(make_dataset().images("test")).square().flatten(1).sum(1)
    nats = squares / (2 * sigma**2) + 32 * math.log(2 * math.pi * sigma**2)
    assert found.test.distortion == pytest.approx(nats.mean().item(), rel=1e-5)


@pytest.mark.parametrize("likelihood", [Rmse(), Sse()])
def test_no_density_and_the_gaussian_of_its_sigma_agree(make_vae, make_dataset, likelihood):
    """Read the same weights as that Gaussian: D, R, negative ELBO and nll are the same."""
    found = evaluate(make_vae(likelihood), make_dataset(), SPEC, 0)
    gaussian = Gaussian(sigma=found.test.calibrated_sigma)
    other = evaluate(make_vae(gaussian), make_dataset(), SPEC, 0)
    numbers, others = (
        {key: value for key, value in one.metrics().items() if value is not None}
        for one in (found, other)
    )
    assert numbers == pytest.approx(others, rel=1e-5, abs=1e-6)
    assert found.test.calibrated_nll == found.test.importance_weighted_nll
    assert found.settings.nats_of == "the calibrated Gaussian"
    assert other.settings.nats_of == "the model's likelihood, gaussian"


EVERY_LIKELIHOOD = [member() for member in get_args(get_args(Likelihood)[0])]


@pytest.mark.parametrize("likelihood", EVERY_LIKELIHOOD, ids=lambda member: member.kind)
def test_every_likelihood_is_measured(make_vae, make_dataset, likelihood):
    test = evaluate(make_vae(likelihood), make_dataset(), SPEC, 0).test
    assert test.importance_weighted_nll < test.negative_elbo
    assert (test.bits_per_dim is not None) == likelihood.is_mass(binarised=False)
    assert (test.calibrated_nll == test.importance_weighted_nll) != likelihood.is_density


def test_bits_per_dim_of_grey_levels(make_vae, make_dataset):
    """Expect 8 bits or slightly more: an untrained decoder is close to a uniform guess."""
    test = evaluate(make_vae(DiscretisedLogistic()), make_dataset(), SPEC, 0).test
    assert test.bits_per_dim == pytest.approx(test.importance_weighted_nll / (64 * math.log(2)))
    assert 7.5 < test.bits_per_dim < 12


def test_a_frozen_sigma_does_not_depend_on_the_test_images(make_vae, make_dataset):
    """Check that it scores like a fixed σ of that value, and keeps what training left."""
    model = make_vae(GaussianOptimal())
    model.likelihood_parameters.get_buffer("variance").fill_(0.04)
    dataset = make_dataset()
    whole = evaluate(model, dataset, SPEC, 0).test
    fixed = evaluate(make_vae(Gaussian(sigma=0.2)), dataset, SPEC, 0).test
    assert whole.distortion == pytest.approx(fixed.distortion, rel=1e-6)
    assert whole.importance_weighted_nll == pytest.approx(fixed.importance_weighted_nll, rel=1e-6)
    assert model.likelihood_parameters.get_buffer("variance").item() == pytest.approx(0.04)


def test_a_likelihood_that_does_not_fit_the_pixels_is_refused(make_vae, make_dataset):
    dataset = make_dataset(binarisation="dynamic")
    with pytest.raises(UserError, match=r"likelihood\.kind = 'discretised_logistic'.*bernoulli"):
        evaluate(make_vae(DiscretisedLogistic()), dataset, SPEC, 0)


def test_a_density_does_not_need_validation_images(make_vae, make_dataset):
    dataset = make_dataset(validation=torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
    test = evaluate(make_vae(Gaussian()), dataset, SPEC, 0).test
    assert test.importance_weighted_nll is not None
    assert (test.calibrated_nll, test.calibrated_sigma) == (None, None)
    with pytest.raises(UserError, match="validation split is empty"):
        evaluate(make_vae(Rmse()), dataset, SPEC, 0)


def test_codes_are_spread_over_the_split_with_their_labels(make_vae, make_dataset, monkeypatch):
    dataset = make_dataset(label=torch.arange(90))
    whole = evaluate(make_vae(), dataset, SPEC, 0).codes
    assert whole.index.tolist() == whole.label.tolist() == list(range(90))
    assert whole.mean.shape == whole.std.shape == (90, 3)
    monkeypatch.setattr(stage, "LARGEST_CODES", 10)
    some = evaluate(make_vae(), dataset, SPEC, 0).codes
    assert some.index.tolist() == some.label.tolist() == list(range(0, 90, 9))
    np.testing.assert_array_equal(some.mean, whole.mean[::9])


def test_without_labels_every_label_is_minus_one(make_vae, make_dataset):
    codes = evaluate(make_vae(), make_dataset(), SPEC, 0).codes
    assert (codes.label == -1).all()
    assert codes.label.dtype == np.int64


def test_a_model_of_other_images_is_refused(make_vae, make_dataset):
    with pytest.raises(UserError, match=r"\(1, 4, 4\).*\(1, 8, 8\).*dvc repro train"):
        evaluate(make_vae(shape=(1, 4, 4)), make_dataset(), SPEC, 0)


def test_a_number_that_is_none_is_refused_by_name(make_vae, make_dataset):
    model = make_vae(posterior="deterministic")
    torch.nn.init.constant_(model.decoder[-2].bias, math.nan)
    with pytest.raises(UserError, match=r"test/distortion = nan.*test/rmse = nan"):
        evaluate(model, make_dataset(), SPEC, 0)


def test_codes_that_are_no_numbers_are_refused(make_vae, make_dataset):
    model = make_vae()
    torch.nn.init.constant_(model.encoder[-1].bias, math.nan)
    with pytest.raises(UserError, match=r"encoder's outputs are not finite.*learning_rate"):
        evaluate(model, make_dataset(), SPEC, 0)


@pytest.mark.parametrize("posterior", ["gaussian", "deterministic"])
def test_two_test_images_and_one_latent(make_vae, make_dataset, posterior):
    spec = ModelSpec(architecture=Mlp(hidden=(4,)), latent_size=1, posterior=posterior)
    model = VAE(spec, Bernoulli(), (1, 8, 8)).eval()
    found = evaluate(model, make_dataset(test=make_dataset().images("test")[:2]), SPEC, 0)
    assert found.settings.latent_images == 2
    assert found.latents.coverage is not None
    assert found.latents.two_sample_accuracy is None


def test_one_test_image(make_vae, make_dataset):
    found = evaluate(make_vae(), make_dataset(test=make_dataset().images("test")[:1]), SPEC, 0)
    latents = found.latents
    assert (latents.coverage, latents.energy_symmetry) == (None, None)
    assert latents.mutual_information == pytest.approx(0, abs=1e-6)
    assert latents.mutual_information_standard_error is None


def test_the_latent_space_is_of_as_many_images_as_asked_for(make_vae, make_dataset):
    spec = SPEC.replace(latent_samples=40)
    settings = evaluate(make_vae(), make_dataset(), spec, 0).settings
    assert (settings.latent_images, settings.training_codes, settings.images) == (40, 40, 90)
    assert "all 40" in settings.mutual_information_estimator


def test_every_part_is_timed(make_vae, make_dataset):
    seconds = evaluate(make_vae(), make_dataset(), SPEC, 0).seconds
    assert {"importance-weighted nll", "mutual information", "gaps"} <= set(seconds)
    assert all(value > 0 for value in seconds.values())


@pytest.fixture(scope="module")
def sprites(tmp_path_factory, data_spec):
    """Prepare all 3·2·2·3·3 combinations of small sprites, as the stage does."""
    source = {"kind": "sprites", "size": 8, "scales": 2, "orientations": 2, "positions": 3}
    folder = tmp_path_factory.mktemp("sprites") / "prepared"
    prepare(data_spec(source), 0, folder)
    return open_dataset(folder)


def test_known_factors_are_measured_over_all_splits(make_vae, sprites):
    found = evaluate(make_vae(), sprites, SPEC, 0)
    scores = vars(found.disentanglement)
    assert len(scores) == 8
    assert all(0 <= score <= 1 for score in scores.values())
    text = found.settings.disentanglement
    assert "108 images of all splits" in text
    assert "shape, scale, orientation, x, y" in text
    assert "DCI 72 + 36" in text
    table = found.factor_table
    assert table.factors == ("shape", "scale", "orientation", "x", "y")
    assert table.mutual_information.shape == table.importance.shape == (3, 5)
    assert evaluate(make_vae(), sprites, SPEC, 0).disentanglement == found.disentanglement


def test_a_code_made_of_the_factors_scores_high(make_vae, sprites, monkeypatch):
    """Replace the encoder's means by the factors of the images."""

    def moments(context, images):
        positions = range(len(images)) if images.positions is None else images.positions
        split = next(s for s in SPLITS if len(sprites.images(s)) == len(images))
        mean = sprites.factors(split)[list(positions)].float()
        return PosteriorMoments(mean, torch.ones_like(mean))

    monkeypatch.setattr(EvaluationContext, "moments", moments)
    monkeypatch.setattr(known_factors, "LARGEST_IMAGES", 10**6)
    context = EvaluationContext(make_vae(), sprites, SPEC, 0)
    scores, _, _ = known_factors.measure_disentanglement(context)
    assert scores.mig > 0.8
    assert scores.factor_vae == scores.beta_vae == 1
    assert scores.dci_disentanglement > 0.9


def test_the_factor_table_is_written(make_vae, sprites, tmp_path):
    write(evaluate(make_vae(), sprites, SPEC, 0), tmp_path / "e.json", tmp_path / "evaluation")
    with (tmp_path / "evaluation/factors.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["latent", "factor", "mutual_information", "importance"]
    assert [(line["latent"], line["factor"]) for line in lines[:6]] == [
        ("0", "shape"),
        ("0", "scale"),
        ("0", "orientation"),
        ("0", "x"),
        ("0", "y"),
        ("1", "shape"),
    ]


def test_without_factors_there_is_no_disentanglement(make_vae, make_dataset):
    found = evaluate(make_vae(), make_dataset(), SPEC, 0)
    assert (found.disentanglement, found.factor_table) == (None, None)
    assert found.settings.disentanglement is None
