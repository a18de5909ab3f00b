"""Which epoch is kept."""

import pytest

from vaebalance.base.best_epoch import Candidate, best_epoch, is_better


def candidates(losses, settled, bounds=None, betas=None) -> list[Candidate]:
    bounds, betas = bounds or losses, betas or [1.0] * len(losses)
    rows = zip(losses, bounds, betas, settled, strict=True)
    return [Candidate(loss, bound, 1.0, beta, held) for loss, bound, beta, held in rows]


@pytest.mark.parametrize(
    ("losses", "settled", "kept"),
    [
        ([5, 3, 4], [True, True, True], 1),  # nothing to wait for: the least
        ([3, 3, 3], [True, True, True], 0),  # a tie keeps what it has
        ([1, 2, 9, 8], [False, False, True, True], 3),  # before the schedule's end nothing counts
        ([1, 2, 3], [False, False, False], 2),  # never settled: as far as it came
        ([1, 9, 8, 7], [True, False, True, True], 3),  # a target that was passed, not held
        ([1, 2, 3], [True, True, False], 2),
        ([4], [True], 0),
        ([4], [False], 0),
    ],
)
def test_the_epoch_that_is_kept(losses, settled, kept):
    assert best_epoch(candidates(losses, settled)) == kept


def test_what_is_minimised_decides_not_the_bound():
    """At a small β, D + R is best when training has hardly begun."""
    assert best_epoch(candidates([9, 5, 4], [True] * 3, bounds=[20, 30, 40])) == 2


def test_the_bound_decides_where_the_weights_moved():
    moved = candidates([9, 5, 4], [True] * 3, bounds=[20, 30, 40], betas=[1.0, 0.9, 0.8])
    assert best_epoch(moved) == 0


def test_an_epoch_that_was_dropped_never_comes_back():
    """Its weights are gone: the choice only moves forward as epochs come."""
    rows = candidates([9, 5, 6, 4], [True] * 4, bounds=[20, 30, 10, 40], betas=[1.0, 1.0, 0.9, 1.0])
    kept = [best_epoch(rows[: count + 1]) for count in range(4)]
    assert kept == sorted(kept) == [0, 1, 2, 2]
    assert not is_better(rows[1], rows[2])


def test_a_candidate_is_read_from_the_history():
    row = {f"validation/{name}": value for value, name in enumerate(("weighted_loss", "alpha"))}
    row |= {"validation/negative_elbo": 7.0, "validation/beta": 8.0, "settled": 1.0}
    assert Candidate.of(row) == Candidate(0, 7.0, 1, 8.0, True)
