"""Small runs of every kind."""

from __future__ import annotations

import pytest

from tests.helpers.small_runs import VARIANTS, Run, draw_pictures, make_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that makes the run of a variant once."""
    runs: dict[str, Run] = {}

    def get(variant: str) -> Run:
        if variant not in runs:
            root = tmp_path_factory.mktemp(variant)
            changes = VARIANTS[variant]
            if variant == "hostile":
                draw_pictures(root / "pictures")
                changes = changes | {"data.root": str(root / "pictures")}
            runs[variant] = make_run(root, changes)
        return runs[variant]

    return get
