"""Several runs side by side on one page (no DVC stage): MLflow's runs -> artifacts/compare."""

from vaebalance.comparison.cli import parse_options
from vaebalance.errors import run_stage


def main() -> None:
    """Compare the runs that were named."""
    options = parse_options()
    from vaebalance.comparison import command  # torch and MLflow: --help need not wait for them

    command.run(options)


if __name__ == "__main__":
    run_stage(main)
