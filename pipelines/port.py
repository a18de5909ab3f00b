"""A weight of another project (no DVC stage): theirs -> our likelihood and balance, and back.

`--write` writes them into params.yaml.
"""

from vaebalance.base.process import run_stage
from vaebalance.porting.options import parse_options


def main() -> None:
    """Port a weight, or params.yaml into every convention."""
    options = parse_options()
    from vaebalance.porting import port as command  # torch: --help need not wait for it

    command.run(options)


if __name__ == "__main__":
    run_stage(main)
