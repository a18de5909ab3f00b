"""pipelines/tune.py with a short rhythm of heartbeats; worker processes import this file, too."""

from vaebalance.errors import run_stage
from vaebalance.tuning import database_storage
from vaebalance.tuning.cli import parse_options

database_storage.RHYTHM = database_storage.Rhythm(heartbeat=1, grace=3, patience=60)

if __name__ == "__main__":
    from vaebalance.tuning import command

    run_stage(lambda: command.run(parse_options()))
