"""Small runs to compare, and an MLflow store that contains them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.small_runs import VARIANTS, Run, draw_pictures, make_run

CHANGES = {
    "one": {},
    "four": {"balance.beta": 4.0, "model.latent_size": 3},
    "gaussian": {"likelihood": {"kind": "gaussian", "sigma": 0.3}},
    "autoencoder": {"model.posterior": "deterministic"},
}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that makes the named run once."""
    runs: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in runs:
            root = tmp_path_factory.mktemp(name)
            changes = CHANGES.get(name) or VARIANTS.get(name, {})
            if name == "hostile":
                draw_pictures(root / "pictures")
                changes = changes | {"data.root": str(root / "pictures")}
            runs[name] = make_run(root, changes)
        return runs[name]

    return get


@pytest.fixture(scope="session")
def compared_runs(run):
    """Return a function that reads the named runs, with only the images of `images_of`."""
    from vaebalance.data import open_dataset
    from vaebalance.pages.comparison.compared_runs import read_compared_run

    def get(*names: str, images_of: str | None = "one"):
        dataset = images_of and open_dataset(run(images_of).root / "data/prepared")
        return [
            read_compared_run(place, f"run {name}", run(name).root, dataset)
            for place, name in enumerate(names)
        ]

    return get


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, run, fresh_database: Path):
    """Yield a project whose MLflow store has the runs `one`, `four` and an unevaluated one."""
    from vaebalance import tracking
    from vaebalance.base.provenance import make_provenance, read_provenance
    from vaebalance.tracking.store import ENVIRONMENT

    root = tmp_path_factory.mktemp("project")
    shutil.copy(fresh_database, root)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "_MLFLOW_", "DVC_")) or name == "VAEBALANCE_EXPERIMENT":
                patch.delenv(name)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("DVC_ROOT", str(root))
        patch.chdir(root)
        (root / "data").mkdir()
        (root / "data/prepared").symlink_to(run("one").root / "data/prepared")
        params = Path(__file__).parents[3] / "params.yaml"
        (root / "params.yaml").write_bytes(params.read_bytes())
        for name, experiment in (("one", "tidal-newt"), ("four", "<script>window.hacked=1")):
            patch.setenv("DVC_EXP_NAME", experiment)
            folder = run(name).root
            provenance = read_provenance(folder / "artifacts/model")
            with tracking.run(provenance, "evaluate", folder):
                pass
        patch.delenv("DVC_EXP_NAME")
        third = make_provenance({"balance": {"kind": "fixed"}}, provenance.dataset, "c")
        with tracking.run(third, "train", root):
            pass
        yield root
