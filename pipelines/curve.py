"""DVC stage `curve` (curve/dvc.yaml): prepared tensors + params.yaml -> artifacts/curve, any β.

With `--target-…`, `--promote` or `--distill` it answers from the curve that is there.
"""

from vaebalance.base.process import run_stage
from vaebalance.curve.options import parse_options


def main() -> None:
    """Train the curve, or take a weight or a model from it."""
    options = parse_options()
    from vaebalance.curve import (
        curve_command as command,  # torch and MLflow: --help need not wait for them
    )

    command.run(options)


if __name__ == "__main__":
    run_stage(main)
