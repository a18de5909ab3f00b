"""When Python looks for garbage: never while modules are imported, nor when a command ends.

Modules are objects that stay. To look through all of them for cycles, as Python does again and
again while there come more, takes a third of MLflow's import; to free them one by one at a
command's end takes 0.5 s with torch, 1.3 s with MLflow and Altair beside it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage until the block is left."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def keep_all() -> None:
    """Never look at the objects that there are now: neither for garbage nor at the end.

    Where triton is imported, by torchvision or a compilation, all are looked at as ever: it tells
    at length of what is left of it at the end.
    """
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()
