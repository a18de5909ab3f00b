"""The same as `vaebalance study`."""

from vaebalance.cli import main

if __name__ == "__main__":
    main("study")
