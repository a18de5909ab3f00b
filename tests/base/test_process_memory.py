"""Which freed memory is kept, in processes of their own."""

import os
import subprocess
import sys

import pytest

from vaebalance.base import process as memory

SIZE = 40_000_000
"""Bytes of a tensor: more than glibc keeps of its own accord."""

PR_SET_THP_DISABLE = 41
FAULTS = f"""
import ctypes, resource, sys
import torch
from vaebalance.base import process as memory
ctypes.CDLL(None).prctl({PR_SET_THP_DISABLE}, 1, 0, 0, 0)  # some systems give large pages to all
if sys.argv[1:] == ["kept"]:
    assert memory.keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    tensors = [torch.ones({SIZE} // 4) for _ in range(3)]
for _ in range(3):
    step()
before = faults()
for _ in range(5):
    step()
print((faults() - before) // 5)
"""
IS_GLIBC = "glibc" in os.confstr("CS_GNU_LIBC_VERSION") if sys.platform == "linux" else False
needs_glibc = pytest.mark.skipif(not IS_GLIBC, reason="another malloc than glibc's")


def run(text, *arguments, **environment):
    """Return what a script prints."""
    inherited = {k: v for k, v in os.environ.items() if k not in memory.OWN}
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        env=inherited | {"THP_MEM_ALLOC_ENABLE": "0"} | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@needs_glibc
def test_a_step_finds_the_memory_of_the_one_before():
    """And else asks for each page of it."""
    pages = SIZE // os.sysconf("SC_PAGE_SIZE")
    assert int(run(FAULTS, "kept")) < pages
    assert int(run(FAULTS)) >= 3 * pages


SAID = "from vaebalance.base.process import keep_freed; print(keep_freed())"


@needs_glibc
def test_a_users_own_setting_stands():
    assert run(SAID) == "True"
    for name in memory.OWN:
        value = "glibc.malloc.check=0" if name == "GLIBC_TUNABLES" else "200000"
        assert run(SAID, **{name: value}) == "False"


class Recorder:
    """A C library that notes what is asked of its mallopt, and does some of it."""

    def __init__(self, accepts):
        self.asked = []
        self._accepts = accepts

    def mallopt(self, name, value):
        self.asked.append((name, value))
        return int(name in self._accepts)


@pytest.mark.parametrize(
    ("accepts", "asked"),
    [
        ((memory.MMAP_THRESHOLD, memory.TRIM_THRESHOLD), 2),
        ((memory.TRIM_THRESHOLD,), 1),  # alone it would make it worse
    ],
)
def test_both_or_neither(monkeypatch, accepts, asked):
    library = Recorder(accepts)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    for name in memory.OWN:
        monkeypatch.delenv(name, raising=False)
    assert memory.keep_freed() == (asked == 2)
    assert len(library.asked) == asked


def test_another_malloc_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed()


def test_large_pages_are_asked_for_unless_a_user_has_said():
    said = "import os, vaebalance; print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    assert run(said) == "0"
    environment = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run(
        [sys.executable, "-c", said], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
