"""Which numbers of runs compare, and which is best."""

from __future__ import annotations

from dataclasses import replace

from vaebalance.pages.comparison.compared_runs import best, compares, settings


def values(contenders, key):
    return {c.letter: c.rows[key].value for c in contenders if key in c.rows}


def test_the_best_of_a_line_is_marked(contenders):
    found = contenders("one", "four")
    for key, pick in (("test/negative_elbo", min), ("test/rmse", min), ("test/psnr", max)):
        numbers = values(found, key)
        assert best(key, found) == {pick(numbers, key=numbers.get)}
    assert best("test/rate", found) == set()  # neither end is better
    assert best("test/bits_per_dim", found) == set()  # does not apply
    assert best("latents/latent_size", found) == set()


def test_nats_of_different_likelihoods_are_not_marked(contenders):
    found = contenders("one", "gaussian")
    for key in ("test/distortion", "test/negative_elbo", "test/importance_weighted_nll"):
        assert best(key, found) == set()
    assert best("test/rmse", found)
    assert best("test/calibrated_nll", found)  # made to compare


def test_numbers_of_different_images_are_not_marked(contenders):
    found = contenders("one", "hostile")
    row = found[0].rows["test/rmse"]
    assert not compares("test/rmse", row, found)
    assert all(best(key, found) == set() for key in found[0].rows)


def test_equals_are_not_marked_where_all_are_equal(contenders):
    (first,) = contenders("one")
    assert best("test/rmse", [first, replace(first, letter="B")]) == set()


def test_what_does_not_apply_to_one_is_marked_among_the_others(contenders):
    found = contenders("one", "four", "autoencoder")
    assert values(found, "test/negative_elbo")["C"] is None
    assert best("test/negative_elbo", found) <= {"A", "B"}
    assert best("test/negative_elbo", found)


def test_letters_and_weights_name_a_run(contenders):
    titles = [c.title for c in contenders("one", "four", "autoencoder")]
    assert titles == ["A: β 1", "B: β 4", "C: α 1"]


def test_settings_are_all_there(contenders):
    one, four = (settings(contender) for contender in contenders("one", "four"))
    differ = {key for key in one if one[key] != four.get(key)}
    assert {key for key in differ if not key.startswith("evaluate.")} == {
        "balance.beta",
        "model.latent_size",
    }
    assert {"data.digest", "evaluate.nll_samples", "code", "seed"} <= set(one)
