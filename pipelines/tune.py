"""The study (no DVC stage): params.yaml + data/prepared -> studies/<name>, nested MLflow runs.

`--promote best` writes the values it found into params.yaml.
"""

from vaebalance.errors import run_stage
from vaebalance.tuning.cli import parse_options


def main() -> None:
    """Run the study, list it, or promote one of its trials."""
    options = parse_options()
    from vaebalance.tuning import command  # torch and Optuna: --help need not wait for them

    command.run(options)


if __name__ == "__main__":
    run_stage(main)
