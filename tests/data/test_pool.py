"""Many processes: in order, bounded, and gone when they should be."""

import operator
import os
from collections.abc import Iterator
from functools import partial

import pytest

from vaebalance.base.errors import UserError
from vaebalance.data.pool import available_cores, parallel


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    assert list(parallel(partial(operator.mul, 3), range(50), workers)) == list(range(0, 150, 3))


@pytest.mark.parametrize("workers", [1, 2])
def test_few_tasks_are_under_way_at_once(workers: int) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = parallel(operator.neg, tasks(), workers)
    assert next(results) == -1
    assert taken <= 4 * workers
    results.close()  # what is left is cancelled


def test_an_error_in_a_task_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(parallel(partial(operator.truediv, 1), [1, 0, 1], 2))


def test_a_killed_process_ends_in_an_error_and_not_in_waiting() -> None:
    with pytest.raises(UserError, match=r"data\.workers"):
        list(parallel(os._exit, [1] * 20, 2))


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
