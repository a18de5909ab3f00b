"""The same as `vaebalance ui`."""

from vaebalance.cli import main

if __name__ == "__main__":
    main("ui")
