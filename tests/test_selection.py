"""Which epoch is kept."""

import pytest

from vaebalance.selection import best_epoch


@pytest.mark.parametrize(
    ("negative_elbo", "settled", "kept"),
    [
        ([5, 3, 4], [True, True, True], 1),  # nothing to wait for: the least
        ([1, 2, 9, 8], [False, False, True, True], 3),  # before the schedule's end nothing counts
        ([1, 2, 3], [False, False, False], 2),  # never settled: as far as it came
        ([1, 9, 8, 7], [True, False, True, True], 3),  # a target that was passed, not held
        ([1, 2, 3], [True, True, False], 2),
        ([4], [True], 0),
        ([4], [False], 0),
    ],
)
def test_the_epoch_that_is_kept(negative_elbo, settled, kept):
    assert best_epoch(negative_elbo, settled) == kept
