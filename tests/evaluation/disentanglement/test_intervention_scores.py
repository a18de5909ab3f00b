"""FactorVAE and β-VAE scores on codes of known scores."""

import numpy as np
import pytest

from vaebalance.evaluation.disentanglement import intervention_scores
from vaebalance.evaluation.disentanglement.factors import FactorCodes
from vaebalance.evaluation.disentanglement.intervention_scores import (
    beta_vae_score,
    factor_vae_score,
)


def test_a_perfect_code_scores_one(perfect, generator):
    assert factor_vae_score(perfect, generator) == 1
    assert beta_vae_score(perfect, generator) == 1


def test_noise_scores_chance(noise, generator):
    assert factor_vae_score(noise, generator) == pytest.approx(1 / 4, abs=0.05)
    assert beta_vae_score(noise, generator) == pytest.approx(1 / 4, abs=0.05)


def test_a_code_on_the_diagonals_tells_pairs_of_factors_but_not_which(rotated, generator):
    """Expect one half: each pair shares its two latents, which vary alike for both factors."""
    assert factor_vae_score(rotated, generator) == pytest.approx(1 / 2, abs=0.05)


def test_latents_that_hardly_vary_have_no_vote(perfect, generator):
    """Add latents that hardly move: unpruned they would vary least for every factor."""
    still = 1e-4 * np.random.default_rng(0).standard_normal((len(perfect.codes), 2))
    more = FactorCodes(np.hstack([still, perfect.codes]), perfect.factors, perfect.names)
    assert factor_vae_score(more, generator) == 1
    none = FactorCodes(still, perfect.factors, perfect.names)
    assert factor_vae_score(none, generator) == 0


def test_scale_does_not_matter_to_the_factorvae_score(perfect, generator):
    wide = FactorCodes(perfect.codes * [1, 100, 5, 0.3], perfect.factors, perfect.names)
    assert factor_vae_score(wide, generator) == 1


def test_votes_are_what_the_protocol_says(perfect, generator, monkeypatch):
    """Compare with a plain loop over votes that fixes the factors in turn."""
    monkeypatch.setattr(intervention_scores, "AT_ONCE", 7)
    table = intervention_scores._vote_table(perfect, perfect.codes, 500, generator)
    assert table.sum() == 500
    assert (table == np.diag(np.diag(table))).all()
    assert np.diag(table) == pytest.approx(125, rel=0.35)


def test_points_are_mean_differences_of_pairs_that_share_a_factor(perfect, generator, monkeypatch):
    monkeypatch.setattr(intervention_scores, "AT_ONCE", 13)
    points, shared = intervention_scores._points(perfect, 300, generator)
    assert points.shape == (300, 4)
    assert (points[np.arange(300), shared] == 0).all()  # latent k is factor k
    # Of a factor that they do not share, E|z − z'| is that of independent draws of its values.
    for factor, size in enumerate((2, 4, 4, 5)):
        values = np.unique(perfect.codes[:, factor])
        expected = np.abs(values[:, None] - values).mean()
        others = points[shared != factor, factor]
        assert others.mean() == pytest.approx(expected, rel=0.05), size


def test_the_generator_decides(rotated):
    scores = [
        score(rotated, np.random.default_rng(seed))
        for score in (factor_vae_score, beta_vae_score)
        for seed in (0, 0, 1)
    ]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]
    assert scores[3] == scores[4]
