"""Models on disk: safe to load, with clear errors."""

from typing import get_args

import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.vae.likelihoods import Bernoulli, GaussianOptimal, Likelihood
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp
from vaebalance.vae.saved_model import load_model, save_model


def make(likelihood=None, architecture=None, posterior="gaussian"):
    spec = ModelSpec(
        architecture=architecture or Mlp(hidden=(8,)), latent_size=2, posterior=posterior
    )
    return VAE(spec, likelihood or Bernoulli(), (1, 8, 8))


EVERY_LIKELIHOOD = [member() for member in get_args(get_args(Likelihood)[0])]


@pytest.mark.parametrize("likelihood", EVERY_LIKELIHOOD, ids=lambda member: member.kind)
@pytest.mark.parametrize("architecture", [Mlp(hidden=(8, 4)), Conv(channels=(4,), hidden=(8,))])
@pytest.mark.parametrize("posterior", ["gaussian", "deterministic"])
def test_a_model_comes_back_whole(tmp_path, likelihood, architecture, posterior):
    """Check that images score the same, also by numbers that the likelihood has learned."""
    model = make(likelihood, architecture, posterior).eval()
    with torch.no_grad():
        for value in model.likelihood_parameters.state_dict().values():
            value.fill_(0.3)
    save_model(tmp_path, model, model.state_dict())
    loaded = load_model(tmp_path)
    x = torch.rand(3, 1, 8, 8)
    before, after = (m.decode(m.encode(x).mean) for m in (model, loaded))
    assert torch.equal(after.mean, before.mean)
    assert torch.equal(after.log_prob(x), before.log_prob(x))
    assert loaded.likelihood == likelihood
    assert loaded.spec == model.spec
    assert not loaded.training


def test_the_weights_file_is_no_pickle(tmp_path):
    model = make()
    save_model(tmp_path, model, model.state_dict())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model.json", "weights.safetensors"]
    assert b"pickle" not in (tmp_path / "weights.safetensors").read_bytes()


def test_a_missing_model_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="run `dvc repro train` first"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_damaged_model_is_named(tmp_path, name):
    model = make()
    save_model(tmp_path, model, model.state_dict())
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UserError, match="do not fit together"):
        load_model(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    save_model(tmp_path, make(), make(architecture=Mlp(hidden=(9,))).state_dict())
    with pytest.raises(UserError, match="do not fit together"):
        load_model(tmp_path)


def test_a_model_without_its_likelihoods_numbers_is_refused(tmp_path):
    """Load weights of a fixed σ under a likelihood that learns its own."""
    save_model(tmp_path, make(GaussianOptimal()), make().state_dict())
    with pytest.raises(UserError, match="likelihood_parameters"):
        load_model(tmp_path)
