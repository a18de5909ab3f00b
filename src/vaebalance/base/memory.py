"""Memory that a step has freed is kept for the next one.

A step allocates tensors of megabytes and frees them. By default glibc gives such memory back to
the system and takes it again, page by page, each cleared: a quarter of the time of a step of
convolutions. (How much depends on what else lies in memory, and so on chance.)
"""

from __future__ import annotations

import ctypes
import os

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD: see mallopt(3)."""

LARGEST = 2**30
"""Bytes of an allocation that is kept; a larger one is a table, and not of a step."""

OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed() -> bool:
    """Keep in this process what is freed from now on; whether it is so.

    Not where a user's own setting stands, nor where malloc is another one than glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name in os.environ for name in OWN):
        return False
    # Either one alone keeps glibc from raising the other, and makes it worse.
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
