"""`vaebalance study` with a short heartbeat interval and slow trials.

Worker processes import this file too.
"""

import sys
import time

from vaebalance.base.process import run_stage
from vaebalance.cli import parse
from vaebalance.study.storage import postgres_storage as database_storage
from vaebalance.training import loop as training

database_storage.RHYTHM = database_storage.Rhythm(heartbeat=1, grace=3, patience=60)
validate = training.validate


def validate_slowly(*arguments, **keywords):
    """Keep a trial running until the other worker has started."""
    time.sleep(0.04)
    return validate(*arguments, **keywords)


training.validate = validate_slowly

if __name__ == "__main__":
    from vaebalance.study import command

    run_stage(lambda: command.run(parse(["study", *sys.argv[1:]])[1]))
