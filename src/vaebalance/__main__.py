"""`python -m vaebalance`: the command `vaebalance`."""

from vaebalance.cli import main

if __name__ == "__main__":
    main()
