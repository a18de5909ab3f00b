"""The study (no DVC stage): params.yaml + data/prepared -> studies/<name>, nested MLflow runs.

`--promote best` writes the values it found into params.yaml. With `tune.method: curve` one training
of a curve answers instead -> artifacts/curve.
"""

from vaebalance.errors import run_stage
from vaebalance.tuning.cli import parse_options


def main() -> None:
    """Run the study, list it, or promote one of its trials; or answer from a curve."""
    options = parse_options()
    # torch and Optuna: --help need not wait for them
    from vaebalance.settings import Settings, load

    if load(Settings).tune.method == "curve":
        from vaebalance.curve_study.command import run
    else:
        from vaebalance.tuning.command import run
    run(options)


if __name__ == "__main__":
    run_stage(main)
