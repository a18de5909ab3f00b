"""Errors that a user can mend: one message, no traceback, exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

from vaebalance.base.garbage import keep_all
from vaebalance.base.memory import keep_freed


class UserError(Exception):
    """Bad input. The message names the file or key, the value, what is allowed and the remedy."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a pipeline script's `main`; a `UserError` is printed and exits with 2.

    Every other exception is ours and keeps its traceback. What is left at the end is not freed
    object by object, and memory that is freed before is kept: see `garbage`, `memory`.
    """
    keep_all()  # what is imported
    keep_freed()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        keep_all()
