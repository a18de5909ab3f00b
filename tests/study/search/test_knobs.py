"""Any knob can be searched by its path; invalid values are refused before anything runs."""

import pytest

from vaebalance.balancing import Fixed
from vaebalance.base.errors import UserError
from vaebalance.settings import PARAMS, Settings, load, parse
from vaebalance.study.search.knobs import current_point, search_space, with_values
from vaebalance.study.space import Choices, Range, Space
from vaebalance.vae.likelihoods import Gaussian, Laplace


@pytest.fixture
def settings(project):
    return load(Settings, project() / PARAMS)


def spanning(settings, space, **sections):
    raw = settings.model_dump(mode="json")
    raw["tune"]["space"] = space
    return parse(raw).replace(**sections)


LOG = {"low": 0.05, "high": 20.0, "log": True}


def test_the_shipped_space_is_log_beta_and_starts_where_params_are(settings):
    space = search_space(settings)
    assert space == Space((Range("balance.beta", 0.01, 10.0, log=True),))
    assert current_point(settings, space) == {"balance.beta": 1.0}


def test_knobs_of_every_type(settings):
    space = search_space(
        spanning(
            settings,
            {
                "model.latent_size": {"low": 2, "high": 16},
                "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
                "train.gradient_clip": {"low": 1, "high": 100},
                "model.architecture.activation": {"choices": ["relu", "tanh"]},
                "train.patience": {"choices": [5, None]},
            },
        )
    )
    assert space.dimensions == (
        Range("model.latent_size", 2, 16, log=False, whole=True),
        Range("train.learning_rate", 1e-4, 1e-2, log=True),
        Range("train.gradient_clip", 1, 100, log=False),
        Choices("model.architecture.activation", ("relu", "tanh")),
        Choices("train.patience", (5, None)),
    )
    found = with_values(settings, space.at([0.5, 0.5, 0.5, 0.9, 0.9]))
    assert found.model.latent_size == 9
    assert found.train.learning_rate == 0.001
    assert found.model.architecture.activation == "tanh"
    assert found.train.patience is None


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"balance.betta": LOG},
            [r"balance\.betta: no knob", "did you mean 'beta'", "alpha, beta"],
        ),
        ({"balnce.beta": LOG}, ["no knob", "did you mean 'balance'"]),
        ({"data.max_images": LOG}, ["no knob of a training", "model, likelihood"]),
        ({"seed": LOG}, [r"seed: no knob of a training"]),
        ({"tune.trials": LOG}, ["no knob of a training"]),
        ({"likelihood.sigma": LOG}, [r"likelihood\.sigma: no knob of a training with these"]),
        ({"model.latent_size.x": LOG}, ["nothing below it"]),
        ({"model.architecture": LOG}, ["not a single value"]),
        ({"model.architecture.hidden": LOG}, ["not a single value"]),
        ({"model.architecture.kind": {"choices": ["mlp", "conv"]}}, ["a study for each"]),
        ({"train.checkpoint_every": {"low": 1, "high": 2}}, ["changes no number"]),
        ({"model.posterior": LOG}, ["no number; give choices"]),
        ({"model.latent_size": {"low": 1.5, "high": 8}}, ["takes whole numbers"]),
        (
            {"model.latent_size": {"low": 0, "high": 8}},
            [r"latent_size = 0", "greater than or equal"],
        ),
        ({"train.learning_rate": {"low": 0, "high": 1}}, ["learning_rate = 0", "greater than 0"]),
        (
            {"model.architecture.activation": {"choices": ["relu", "rellu"]}},
            ["'rellu'", "did you mean 'relu'"],
        ),
        ({"likelihood.kind": {"choices": ["bernoulli", "gauss"]}}, ["likelihood.kind = 'gauss'"]),
        ({"balance.alpha": LOG, "balance.beta": LOG}, ["only their ratios matter"]),
    ],
)
def test_what_does_not_fit_is_refused(settings, space, words):
    other = spanning(settings, space)
    for word in words:
        with pytest.raises(UserError, match=word):
            search_space(other)


def test_combinations_that_do_not_fit_are_refused(settings):
    """Each is valid by itself: a kind without σ, and σ of the other kind."""
    gaussian = {"likelihood": Gaussian(sigma=0.2)}
    sigma = {"low": 0.05, "high": 0.5, "log": True}
    space = {
        "likelihood.kind": {"choices": ["gaussian", "laplace"]},
        "likelihood.sigma": sigma,
    }
    with pytest.raises(UserError, match=r"(?s)likelihood\.kind = laplace.*sigma.*unknown key"):
        search_space(spanning(settings, space, **gaussian))
    search_space(spanning(settings, {"likelihood.sigma": sigma}, **gaussian))


def test_both_weights_matter_beside_a_third_term(settings):
    both = {"balance.alpha": LOG, "balance.beta": LOG}
    penalty = {"kind": "total_correlation", "weight": 2.0}
    assert len(search_space(spanning(settings, both, penalty=penalty)).dimensions) == 2
    with pytest.raises(UserError, match=r"alpha and balance\.beta and penalty\.weight at once"):
        search_space(spanning(settings, {**both, "penalty.weight": LOG}, penalty=penalty))


def test_a_weight_that_the_balance_sets_itself_is_no_knob(settings):
    itself = settings.replace(balance={"kind": "control_vae", "rate": 6.0})
    with pytest.raises(UserError, match=r"balance\.beta: no knob of a training with these"):
        search_space(itself)


def test_a_target_is_a_knob_like_any_other(settings):
    itself = settings.replace(balance={"kind": "control_vae", "rate": 6.0})
    space = {"balance.rate": {"low": 2, "high": 12}}
    found = search_space(spanning(itself, space))
    assert with_values(itself, found.at([0.5])).balance.rate == 7.0


def test_a_point_out_of_range_is_no_start(settings):
    far = settings.replace(balance=Fixed(alpha=1.0, beta=0.001))
    assert current_point(far, search_space(far)) is None


def test_a_searched_kind_has_its_defaults_whatever_params_say(settings):
    """Otherwise a trial would depend on promotions in the meantime."""
    space = {"likelihood.kind": {"choices": ["gaussian", "laplace"]}}
    other = spanning(settings, space, likelihood=Gaussian(sigma=0.2))
    assert with_values(other, {"likelihood.kind": "gaussian"}).likelihood == Gaussian()
    assert with_values(other, {"likelihood.kind": "laplace"}).likelihood == Laplace()
    assert current_point(other, search_space(other)) is None
    default = spanning(settings, space, likelihood=Gaussian())
    assert current_point(default, search_space(default)) == {"likelihood.kind": "gaussian"}
