"""`python -m vaebalance.cli`: the command `vaebalance`."""

from vaebalance.cli import main

if __name__ == "__main__":
    main()
