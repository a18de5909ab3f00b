"""States of a curve: numbers equal the evaluation's, and every β shows the same images."""

import math

import numpy as np
import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.data import open_dataset, prepare
from vaebalance.evaluation.bounds import elbo_parts
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.evaluation.posterior_moments import active_units, posterior_moments
from vaebalance.pages.figures.picture_sheets import to_bytes
from vaebalance.pages.kit.decoded import prior_samples, reconstruct
from vaebalance.pages.slider.examples import CODES, PRIOR_SAMPLES, RECONSTRUCTIONS, shown_images
from vaebalance.pages.slider.states import curve_states, latents_by_rate
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec

ARRAYS = ("rate_by_latent", "active", "reconstructions", "samples", "mean", "std")


def fresh(posterior: str = "gaussian", latents: int = 4) -> VAE:
    architecture = {"kind": "mlp", "hidden": (8,)}
    spec = ModelSpec.model_validate(
        {"architecture": architecture, "latent_size": latents, "posterior": posterior}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(spec, Bernoulli(), (1, 8, 8)).eval()


def test_a_states_numbers_are_those_of_the_evaluation(models, digits):
    states = curve_states(models.items(), digits, 0)
    images = measured_images(digits, "test", 0)
    for (beta, model), state in zip(models.items(), states, strict=True):
        parts = elbo_parts(model, images, samples=1, batch_size=1024, seed=0)
        moments = posterior_moments(model, images, batch_size=1024)
        assert state.beta == beta
        assert state.distortion == parts.distortion
        assert state.rate == pytest.approx(parts.rate)
        assert (state.active == active_units(moments, 0.01).numpy()).all()
        assert state.active_count == state.active.sum()


def test_beta_trades_rate_for_distortion(models, digits):
    states = curve_states(models.items(), digits, 0)
    assert states[0].rate > states[1].rate > states[2].rate > states[3].rate
    assert states[0].distortion < states[3].distortion


def test_every_state_shows_the_same_images_and_the_same_codes(models, digits):
    shown, images = shown_images(digits, 0), measured_images(digits, "test", 0)
    chosen = images.at(torch.tensor(shown.positions)).pixels(slice(None), torch.device("cpu"))
    coded = images.at(torch.tensor(shown.coded))
    states = curve_states(models.items(), digits, 0)
    for model, state in zip(models.values(), states, strict=True):
        pictures = to_bytes(reconstruct(model, chosen).pictures).numpy()
        assert (state.reconstructions == pictures).all()
        assert (state.samples == to_bytes(prior_samples(model, PRIOR_SAMPLES, 0)).numpy()).all()
        moments = posterior_moments(model, coded, batch_size=1024)
        np.testing.assert_array_equal(state.mean, moments.mean.numpy())
        np.testing.assert_array_equal(state.std, moments.std.numpy())


def test_shown_images_are_of_all_labels_and_named_by_them(digits):
    shown, labels = shown_images(digits, 0), digits.labels("test")
    assert len(shown.names) == RECONSTRUCTIONS
    assert sorted(shown.names) == [str(k) for k in range(10)]
    assert (shown.originals == digits.images("test")[list(shown.positions)].numpy()).all()
    assert len(shown.coded) == min(CODES, len(labels))
    assert (shown.labels == labels[list(shown.coded)].numpy()).all()


def test_dynamic_binarisation_is_drawn_once_for_all(tmp_path, data_spec):
    prepare(data_spec(binarisation="dynamic"), 0, tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    first, again, other = (shown_images(dataset, seed).originals for seed in (0, 0, 1))
    assert set(np.unique(first)) == {0, 255}
    assert (first == again).all()
    assert (first != other).any()


def test_the_same_models_give_the_same_states_and_move_no_random_number(models, digits):
    before = torch.get_rng_state()
    first = curve_states(models.items(), digits, 0)
    assert torch.equal(torch.get_rng_state(), before)
    again = curve_states(reversed(list(models.items())), digits, 0)
    assert [s.beta for s in again] == sorted(models)
    for one, other in zip(first, again, strict=True):
        assert one.distortion == other.distortion
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    other = curve_states(models.items(), digits, 1)
    assert (first[0].samples != other[0].samples).any()
    assert first[0].distortion != other[0].distortion


def test_a_part_of_the_images_can_be_measured(models, digits):
    (part, *_) = curve_states(models.items(), digits, 0, measured=50)
    images = measured_images(digits, "test", 0).spread(50)
    parts = elbo_parts(models[0.01], images, samples=1, batch_size=1024, seed=0)
    assert part.distortion == parts.distortion
    assert len(part.mean) == len(shown_images(digits, 0).coded)


def test_latents_are_ordered_by_rate_over_all_states(models, digits):
    states = curve_states(models.items(), digits, 0)
    mean = sum(s.rate_by_latent for s in states)
    found = latents_by_rate(states)
    assert sorted(found) == [0, 1, 2, 3]
    assert [mean[k] for k in found] == sorted(mean, reverse=True)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_a_logarithm_is_refused(beta, digits):
    with pytest.raises(UserError, match="finite and above 0"):
        curve_states([(1.0, fresh()), (beta, fresh())], digits, 0)


def test_invalid_curves_are_refused(digits):
    model = fresh()
    with pytest.raises(UserError, match="β = 1 appears twice"):
        curve_states([(1.0, model), (1.0, model)], digits, 0)
    with pytest.raises(UserError, match="1 values of β; it needs 2 to 60"):
        curve_states([(1.0, model)], digits, 0)
    with pytest.raises(UserError, match="61 values of β"):
        curve_states(((float(k), model) for k in range(1, 62)), digits, 0, measured=4)
    with pytest.raises(UserError, match="posterior: gaussian"):
        curve_states([(1.0, fresh("deterministic"))], digits, 0)
    with pytest.raises(UserError, match=r"model\.latent_size"):
        curve_states([(1.0, model), (2.0, fresh(latents=3))], digits, 0)


def test_a_broken_model_is_refused_by_its_beta(digits):
    broken = fresh()
    with torch.no_grad():
        next(broken.decoder.parameters()).fill_(math.nan)
    with pytest.raises(UserError, match="at β = 2 D = nan"):
        curve_states([(1.0, fresh()), (2.0, broken)], digits, 0)
