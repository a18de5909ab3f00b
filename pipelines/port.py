"""The same as `vaebalance port`."""

from vaebalance.cli import main

if __name__ == "__main__":
    main("port")
