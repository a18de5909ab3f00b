"""pipelines/tune.py with a short rhythm of heartbeats, and trials that take their time.

Worker processes import this file, too.
"""

import time

from vaebalance import training
from vaebalance.errors import run_stage
from vaebalance.tuning import database_storage
from vaebalance.tuning.cli import parse_options

database_storage.RHYTHM = database_storage.Rhythm(heartbeat=1, grace=3, patience=60)
validate = training.validate


def validate_slowly(*arguments):
    """So that one trial still runs when the other worker has come up."""
    time.sleep(0.04)
    return validate(*arguments)


training.validate = validate_slowly

if __name__ == "__main__":
    from vaebalance.tuning import command

    run_stage(lambda: command.run(parse_options()))
