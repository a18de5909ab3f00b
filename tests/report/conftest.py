"""Small runs of every kind, and their reports."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small_runs import VARIANTS, Run, draw_pictures, make_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """`runs(variant)`: that run, made once."""
    made: dict[str, Run] = {}

    def get(variant: str) -> Run:
        if variant not in made:
            root = tmp_path_factory.mktemp(variant)
            changes = VARIANTS[variant]
            if variant == "hostile":
                draw_pictures(root / "pictures")
                changes = changes | {"data.root": str(root / "pictures")}
            made[variant] = make_run(root, changes)
        return made[variant]

    return get


@pytest.fixture(scope="session")
def pages(runs):
    """`pages(variant)`: its page, built once."""
    built: dict[str, Path] = {}

    def get(variant: str) -> Path:
        if variant not in built:
            built[variant] = runs(variant).report()
        return built[variant]

    return get
