"""The benchmarks are measured by hand; here only that each can still be started, and is fair."""

import runpy
from pathlib import Path

import pytest

from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_everything_that_it_imports_is_there(script, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    assert runpy.run_path(str(script), run_name="imported")["__doc__"]


@pytest.mark.parametrize("architecture", [Mlp(hidden=(6, 5)), Conv(channels=(2, 4), hidden=(6,))])
@pytest.mark.parametrize("side", [8, 9])
def test_the_naive_run_has_the_same_nets(architecture, side):
    nets = runpy.run_path(str(FOLDER / "naive.py"))["nets"]
    channels = list(getattr(architecture, "channels", []))
    naive = nets((1, side, side), channels, list(architecture.hidden), 3)
    spec = ModelSpec(architecture=architecture, latent_size=3, posterior="gaussian")
    model = VAE(spec, Bernoulli(), (1, side, side))
    for ours, theirs in ((model.encoder, naive.encoder), (model.decoder, naive.decoder)):
        assert list(map(str, theirs)) == list(map(str, ours))
