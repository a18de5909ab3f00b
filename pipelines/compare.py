"""Several runs side by side on one page (no DVC stage): MLflow's runs -> artifacts/compare."""

from vaebalance.base.process import run_stage
from vaebalance.pages.comparison.options import parse_options


def main() -> None:
    """Compare the runs that were named."""
    options = parse_options()
    from vaebalance.pages.comparison import (
        compare as command,  # torch and MLflow: --help need not wait for them
    )

    command.run(options)


if __name__ == "__main__":
    run_stage(main)
