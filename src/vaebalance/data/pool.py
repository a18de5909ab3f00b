"""A parallel map over processes: ordered, in bounded memory, and without hanging."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import TypeVar

from vaebalance.base.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_WORKERS = 61
"""Maximum number of processes: Windows cannot wait for more, and one process writes the results."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Yield the results of `map(function, tasks)`, computed in `workers` processes.

    At most four tasks per worker are pending at once. The other processes find the function by its
    name, so it must be importable.

    Raises:
        UserError: a process died, for example because memory ran out.
    """
    workers = min(workers, MOST_WORKERS)
    if workers <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, _context(), initializer=_start_worker)
    under_way: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            under_way.append(pool.submit(function, task))
            if len(under_way) == 4 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {workers} decoding processes died. If it printed no message, it was killed, "
            "most likely because memory ran out: lower data.workers or data.max_pixels."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> BaseContext:
    """Return a context whose processes do not inherit this one's threads and locks.

    On Linux they are forked from a fresh process that has already imported this package, which
    saves each of them the import's time and memory.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vaebalance.data"])
    return context


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and exit when the parent ends, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
