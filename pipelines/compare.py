"""The same as `vaebalance compare`."""

from vaebalance.cli import main

if __name__ == "__main__":
    main("compare")
