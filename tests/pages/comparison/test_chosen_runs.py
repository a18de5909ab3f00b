"""Names as people give them."""

from __future__ import annotations

import pytest

from vaebalance.base.errors import UserError
from vaebalance.pages.comparison.chosen_runs import choose
from vaebalance.tracking import RunSummary

DONE = frozenset({"train", "evaluate"})


def summary(run_id, fingerprint, name, experiment=None, stages=DONE):
    return RunSummary(run_id, name, fingerprint, {}, {}, experiment, stages)


RUNS = [
    summary("abc1", "f001", "digits beta=1", "tidal-newt"),
    summary("abc2", "f002", "digits beta=4", "abc"),
    summary("def3", "abd3", "digits beta=4"),
    summary("999a", "e004", "digits beta=9", stages=frozenset({"train"})),
]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["abc1", "def3"], [0, 2]),
        (["d", "f002"], [2, 1]),
        (["abd", "tidal-newt"], [2, 0]),
        (["digits beta=1", "abc"], [0, 1]),  # a full name before the beginning of an id
    ],
)
def test_a_run_has_many_names(names, expected):
    assert choose(names, RUNS) == [RUNS[k] for k in expected]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["ab", "d"],
            r"'ab' matches several runs; give a longer name:\n +abc1 .*\n +abc2 .*\n +def3",
        ),
        (["digits beta=4", "d"], r"matches several runs"),
        (
            ["newt", "d"],
            r"'newt' is not a run. Known runs:\n +abc1  digits beta=1, experiment tidal-",
        ),
        (["", "d"], r"'' is not a run"),
        (["abc1", "f001"], r"'f001' is a run that was already named: abc1"),
        (["abc1", "999"], r"'999' is not evaluated.*999a.*, not evaluated.*dvc repro"),
    ],
)
def test_a_name_that_matches_no_single_run_lists_candidates(names, message):
    with pytest.raises(UserError, match=message):
        choose(names, RUNS)


def test_without_runs_the_error_names_the_remedy():
    with pytest.raises(UserError, match=r"Known runs: none. Run `dvc repro` first"):
        choose(["a", "b"], [])


def test_many_runs_are_not_all_listed():
    runs = [summary(f"{k:04}", f"f{k:03}", f"run {k}") for k in range(50)]
    with pytest.raises(UserError, match="and 30 more"):
        choose(["x", "y"], runs)
