"""DVC stage `prepare`: pictures + params.yaml -> data/prepared (tensors, manifest, statistics)."""

from pathlib import Path

from vaebalance.base.process import run_stage
from vaebalance.data import prepare
from vaebalance.settings import PrepareSettings, load


def main() -> None:
    """Prepare the data and print a summary."""
    settings = load(PrepareSettings)
    info = prepare(settings.data, settings.seed, Path("data/prepared"))
    print(info.summary())


if __name__ == "__main__":
    run_stage(main)
