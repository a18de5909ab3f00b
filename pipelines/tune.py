"""The study (no DVC stage): params.yaml + data/prepared -> studies/<name>, nested MLflow runs.

`--promote best` writes the values it found into params.yaml. With `tune.method: curve` one training
of a curve answers instead -> artifacts/curve.
"""

from vaebalance.base.process import run_stage
from vaebalance.study.options import parse_options


def main() -> None:
    """Run the study, list it, or promote one of its trials; or answer from a curve."""
    options = parse_options()
    # torch and Optuna: --help need not wait for them
    from vaebalance.settings import Settings, load

    if load(Settings).tune.method == "curve":
        from vaebalance.study.by_curve.ask import run
    else:
        from vaebalance.study.command import run
    run(options)


if __name__ == "__main__":
    run_stage(main)
