"""DVC stage `curve` (curve/dvc.yaml): prepared tensors + params.yaml -> artifacts/curve, any β.

With `--target-…`, `--promote` or `--distill` it answers from the curve that is there.
"""

from vaebalance.curve.cli import parse_options
from vaebalance.errors import run_stage


def main() -> None:
    """Train the curve, or take a weight or a model from it."""
    options = parse_options()
    from vaebalance.curve import command  # torch and MLflow: --help need not wait for them

    command.run(options)


if __name__ == "__main__":
    run_stage(main)
