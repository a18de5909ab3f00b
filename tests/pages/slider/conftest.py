"""Curves of small trained models."""

from __future__ import annotations

import pytest

from tests.helpers.curve_examples import BETAS, FACTS, TRAINED, Example, make_example, train
from tests.helpers.small_runs import VARIANTS, draw_pictures, make_run
from vaebalance.data import open_dataset
from vaebalance.pages.slider.facts import CurveFacts, Mark
from vaebalance.vae.model import VAE
from vaebalance.vae.saved_model import load_model


@pytest.fixture(scope="session")
def models(digits) -> dict[float, VAE]:
    """Train a model at each β of `TRAINED`."""
    return {beta: train(digits, beta, 4) for beta in TRAINED}


@pytest.fixture(scope="session")
def sixty(models, digits, tmp_path_factory) -> Example:
    """Make 60 states; each model also serves neighbouring β."""
    spread = [(beta, models[TRAINED[k * len(TRAINED) // 60]]) for k, beta in enumerate(BETAS)]
    facts = CurveFacts(FACTS.title, FACTS.models, (*FACTS.marks, Mark("β = 1", 1.0)))
    return make_example(spread, digits, facts, tmp_path_factory.mktemp("sixty") / "curve.html")


@pytest.fixture(scope="session")
def uneven(models, digits, tmp_path_factory) -> Example:
    """Make four states at unequal distances, in no order."""
    spread = list(zip((10.0, 0.01, 0.0123, 8.0), models.values(), strict=True))
    return make_example(spread, digits, FACTS, tmp_path_factory.mktemp("uneven") / "curve.html")


@pytest.fixture(scope="session")
def one_latent(digits, tmp_path_factory) -> Example:
    """Make two states of models with one latent."""
    spread = [(beta, train(digits, beta, 1)) for beta in (0.1, 1.0)]
    return make_example(spread, digits, FACTS, tmp_path_factory.mktemp("one") / "curve.html")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Example:
    """Make states of colour pictures, with code as label names and facts."""
    root = tmp_path_factory.mktemp("hostile")
    draw_pictures(root / "pictures")
    run = make_run(root, VARIANTS["hostile"] | {"data.root": str(root / "pictures")})
    model = load_model(run.root / "artifacts/model")
    facts = CurveFacts(
        "<script>window.hacked = 3</script>",
        "{{ 7 * 7 }} </script><img src=x onerror='window.hacked = 4'>",
        (Mark('"><script>window.hacked = 5</script>', 1.0),),
        "<b>caution</b>",
    )
    dataset = open_dataset(run.root / "data/prepared")
    spread = [(beta, model) for beta in (0.5, 1.0, 2.0)]
    return make_example(spread, dataset, facts, root / "curve.html")


@pytest.fixture(scope="session")
def examples(request):
    """Return a function that gets one of the examples above by name."""
    return request.getfixturevalue
