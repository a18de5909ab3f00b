"""Images that share a factor's value, and the factors that vary."""

import numpy as np
import pytest

from vaebalance.evaluation.disentanglement.factors import known_factors, shares, train_and_test


def test_images_that_share_a_value_share_it_and_are_drawn_evenly(perfect, generator):
    images = np.array([3, 90, 700])
    for factor in range(4):
        found = perfect.sharing(factor, images, 4000, generator)
        values = perfect.factors[found, factor]
        assert (values == perfect.factors[images, factor][:, None]).all()
        other = (factor + 1) % 4
        counts = np.bincount(perfect.factors[found[0], other])
        assert counts == pytest.approx(4000 / len(counts), rel=0.15)


def test_values_that_no_image_has_do_no_harm(generator):
    factors = np.array([[0, 0], [5, 1], [5, 0], [9, 1]])
    data = known_factors(np.zeros((4, 1)), factors, ("gaps", "b"))
    found = data.sharing(0, np.array([1, 3]), 50, generator)
    assert set(found[0]) == {1, 2}
    assert set(found[1]) == {3}


def test_factors_that_do_not_vary_are_left_out():
    factors = np.array([[0, 2, 1], [0, 3, 1], [1, 2, 1]])
    data = known_factors(np.zeros((3, 1)), factors, ("a", "b", "constant"))
    assert data.names == ("a", "b")
    assert data.factors.tolist() == factors[:, :2].tolist()
    assert known_factors(np.zeros((3, 1)), factors[:, 1:], ("b", "constant")) is None


@pytest.mark.parametrize(
    ("images", "expected"), [(9, (6, 3)), (4608, (3072, 1536)), (10**6, (10_000, 5_000))]
)
def test_learning_and_test_images_differ(images, expected, generator):
    assert shares(images, (10_000, 5_000)) == expected
    train, test = train_and_test(images, (10_000, 5_000), generator)
    assert (len(train), len(test)) == expected
    assert not set(train) & set(test)
