"""DVC stage `curve` (curve/dvc.yaml): prepared tensors + params.yaml -> artifacts/curve, any β.

With options it is the same as `vaebalance curve`.
"""

import sys

from vaebalance import cli
from vaebalance.base.process import run_stage


def main() -> None:
    """Train the curve."""
    # Imported late: options need not wait for torch and MLflow.
    from vaebalance.curve import curve_command
    from vaebalance.curve.options import Options

    curve_command.run(Options())


if __name__ == "__main__":
    if sys.argv[1:]:
        cli.main("curve")
    else:
        run_stage(main)
