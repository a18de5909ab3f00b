"""Which numbers of runs are comparable, and which is best."""

from __future__ import annotations

from dataclasses import replace

from vaebalance.pages.comparison.compared_runs import best_runs, is_comparable, settings


def values(runs, key):
    return {run.letter: run.rows[key].value for run in runs if key in run.rows}


def test_the_best_of_a_row_is_marked(compared_runs):
    runs = compared_runs("one", "four")
    for key, pick in (("test/negative_elbo", min), ("test/rmse", min), ("test/psnr", max)):
        numbers = values(runs, key)
        assert best_runs(key, runs) == {pick(numbers, key=numbers.get)}
    assert best_runs("test/rate", runs) == set()  # neither end is better
    assert best_runs("test/bits_per_dim", runs) == set()  # does not apply
    assert best_runs("latents/latent_size", runs) == set()


def test_nats_of_different_likelihoods_are_not_marked(compared_runs):
    runs = compared_runs("one", "gaussian")
    for key in ("test/distortion", "test/negative_elbo", "test/importance_weighted_nll"):
        assert best_runs(key, runs) == set()
    assert best_runs("test/rmse", runs)
    assert best_runs("test/calibrated_nll", runs)  # comparable across likelihoods


def test_numbers_of_different_images_are_not_marked(compared_runs):
    runs = compared_runs("one", "hostile")
    row = runs[0].rows["test/rmse"]
    assert not is_comparable("test/rmse", row, runs)
    assert all(best_runs(key, runs) == set() for key in runs[0].rows)


def test_equal_values_are_not_marked(compared_runs):
    (first,) = compared_runs("one")
    assert best_runs("test/rmse", [first, replace(first, letter="B")]) == set()


def test_the_best_is_marked_among_runs_that_have_the_number(compared_runs):
    runs = compared_runs("one", "four", "autoencoder")
    assert values(runs, "test/negative_elbo")["C"] is None
    assert best_runs("test/negative_elbo", runs) <= {"A", "B"}
    assert best_runs("test/negative_elbo", runs)


def test_letters_and_weights_name_a_run(compared_runs):
    titles = [run.title for run in compared_runs("one", "four", "autoencoder")]
    assert titles == ["A: β 1", "B: β 4", "C: α 1"]


def test_settings_are_all_there(compared_runs):
    one, four = (settings(run) for run in compared_runs("one", "four"))
    differ = {key for key in one if one[key] != four.get(key)}
    assert {key for key in differ if not key.startswith("evaluate.")} == {
        "balance.beta",
        "model.latent_size",
    }
    assert {"data.digest", "evaluate.nll_samples", "code", "seed"} <= set(one)
