"""`train.device`, memory, and threads of the processor."""

import os
import subprocess
import sys

import psutil
import pytest
import torch

from vaebalance.base.devices import (
    RESIDENT_SHARE,
    choose_device,
    flushed,
    on_threads,
    threads,
    working_memory,
)
from vaebalance.base.errors import UserError


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}
    missing = [
        name
        for name, here in (
            ("cuda", torch.cuda.is_available()),
            ("mps", torch.backends.mps.is_available()),
        )
        if not here
    ]
    for name in missing:
        with pytest.raises(UserError, match=f"train.device: '{name}' is not available"):
            choose_device(name)


def test_half_of_the_memory_is_expected_to_hold_what_was_read():
    expected = RESIDENT_SHARE * psutil.virtual_memory().total
    assert working_memory() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (2, 2), (3, 3), (8, 3), (None, 3)])
def test_a_block_has_the_threads_it_wants_and_no_more_than_there_are(three_threads, wanted, found):
    with threads(wanted):
        assert torch.get_num_threads() == found
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyError), threads(wanted):
        raise KeyError
    assert torch.get_num_threads() == 3


def has_subnormals():
    """Whether torch, and Python, have numbers between 0 and the least normal one."""
    found = {bool(torch.tensor(2e-38) / 4 > 0), sys.float_info.min / 2 > 0}
    assert len(found) == 1
    return found.pop()


needs_flushing = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="a processor that cannot flush"
)


@needs_flushing
def test_a_block_has_no_numbers_below_the_normal_ones():
    assert has_subnormals()
    with flushed():
        assert not has_subnormals()
        with flushed():
            pass
        assert not has_subnormals()
    assert has_subnormals()
    with pytest.raises(KeyError), flushed():
        raise KeyError
    assert has_subnormals()


@needs_flushing
def test_a_generator_is_flushed_and_its_reader_is_not():
    def asking():
        yield has_subnormals()
        yield has_subnormals()

    assert [(found, has_subnormals()) for found in on_threads(1, asking())] == [(False, True)] * 2


THREADS = """
import sys
import torch
from vaebalance.base.devices import flushed, start_threads
torch.set_num_threads(2)
if sys.argv[1:] == ["started"]:
    start_threads()
least = torch.full((2**18,), 2e-38)
print(int((least / 4 > 0).sum()))  # both threads are there at the latest now
with flushed():
    print(int((least / 4 > 0).sum()))
"""


@needs_flushing
@pytest.mark.parametrize(
    ("arguments", "outside", "within"), [(["started"], 2**17, 0), ([], 2**18, 2**17)]
)
def test_threads_stay_as_they_were_started(arguments, outside, within):
    """In a process of its own; half of an operation is each thread's."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"},
    )
    assert list(map(int, done.stdout.split())) == [outside, within]


def speaking(fails):
    """Yield the number of threads twice; return or fail."""
    try:
        yield torch.get_num_threads()
        yield torch.get_num_threads()
        if fails:
            raise KeyError
        return "all"
    finally:
        CLOSED.append(torch.get_num_threads())


CLOSED = []


@pytest.mark.parametrize("fails", [False, True])
def test_a_generator_has_its_threads_and_its_reader_the_others(three_threads, fails):
    source = on_threads(1, speaking(fails))
    heard = [(next(source), torch.get_num_threads()) for _ in range(2)]
    with pytest.raises(KeyError if fails else StopIteration) as end:
        next(source)
    assert fails or end.value.value == "all"
    assert heard == [(1, 3), (1, 3)]
    assert torch.get_num_threads() == 3


def test_closing_it_closes_the_source(three_threads):
    CLOSED.clear()
    source = on_threads(1, speaking(fails=False))
    next(source)
    assert not CLOSED
    source.close()
    assert CLOSED
    assert torch.get_num_threads() == 3
