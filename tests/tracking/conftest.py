"""A project on disk with a real SQLite store, and a small trained model."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from vaebalance.base.provenance import Provenance, make_provenance, write_provenance
from vaebalance.tracking import store
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.saved_model import save_model

IMAGE_SHAPE = (1, 8, 8)
LATENT_SIZE = 3
METRICS = ("train/distortion", "train/rate", "validation/negative_elbo", "learning_rate")
SPEED = (0.5, 2000.0)
STARTED = 1_700_000_000_000


@dataclass(frozen=True)
class Record:
    """An epoch's report in the form that the train stage passes."""

    epoch: int
    scale: float = 1.0
    delay: int = 0

    @property
    def step(self) -> int:
        return 10 * self.epoch

    @property
    def seconds(self) -> float:
        return SPEED[0]

    @property
    def images_per_second(self) -> float:
        return SPEED[1]

    @property
    def finished_at(self) -> int:
        return STARTED + 1000 * self.epoch + self.delay

    def metrics(self) -> dict[str, float]:
        return {name: self.scale * (100 + i) / self.epoch for i, name in enumerate(METRICS)}


@dataclass(frozen=True)
class Project:
    """The files that the stages leave on disk, made without the stages."""

    root: Path
    trained: Path

    def provenance(self, beta: float = 1.0, **more: Any) -> Provenance:
        params = {
            "seed": 0,
            "model": {"latent_size": LATENT_SIZE, "architecture": {"hidden": [32]}},
            "likelihood": {"kind": "bernoulli"},
            "balance": {"kind": "fixed", "alpha": 1.0, "beta": beta},
            **more,
        }
        dataset = {"name": "digits", "digest": "d" * 64, "image_shape": list(IMAGE_SHAPE)}
        return make_provenance(params, dataset, "c" * 64)

    def records(self, epochs: int, scale: float = 1.0, delay: int = 0) -> list[Record]:
        return [Record(epoch, scale, delay) for epoch in range(1, epochs + 1)]

    def write_training(
        self,
        provenance: Provenance,
        epochs: int = 3,
        scale: float = 1.0,
        folder: Path | None = None,
    ) -> None:
        root = folder or self.root
        shutil.copytree(self.trained, root / "artifacts/model", dirs_exist_ok=True)
        write_provenance(root / "artifacts/model", provenance)
        records = self.records(epochs, scale)
        history = [",".join(("epoch", "step", *METRICS))]
        timing = ["epoch,step,seconds,images_per_second,finished_at"]
        for record in records:
            values = [record.epoch, record.step, *record.metrics().values()]
            history.append(",".join(map(repr, values)))
            timing.append(
                f"{record.epoch},{record.step},{SPEED[0]},{SPEED[1]},{record.finished_at}"
            )
        (root / "artifacts/history.csv").write_text("\n".join(history) + "\n")
        (root / "artifacts/timing.csv").write_text("\n".join(timing) + "\n")
        write_json(root / "metrics/train.json", {"epochs": epochs, "best": {"epoch": epochs}})

    def write_evaluation(self, **metrics: Any) -> None:
        test = {"distortion": 80.5, "rate": 20.25, "psnr": None, **metrics}
        values = {"test": test, "latents": {"active": 3}, "settings": {"nll_samples": 256}}
        write_json(self.root / "metrics/evaluation.json", values)
        figure = self.root / "artifacts/evaluation/rate_by_latent.csv"
        figure.parent.mkdir(parents=True, exist_ok=True)
        figure.write_text("latent,rate\n0,1.5\n")

    def write_report(self) -> None:
        page = self.root / "artifacts/report/index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<!doctype html><h1>The latent space report</h1>")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def small_vae(posterior: str = "gaussian") -> VAE:
    """Make a VAE for 8x8 grey images with 3 latents, initialised by seed 0."""
    spec = ModelSpec.model_validate(
        {
            "architecture": {"kind": "mlp", "hidden": (32,)},
            "latent_size": LATENT_SIZE,
            "posterior": posterior,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(spec, Bernoulli(kind="bernoulli"), IMAGE_SHAPE).eval()


@pytest.fixture
def vae() -> VAE:
    return small_vae()


@pytest.fixture
def autoencoder() -> VAE:
    return small_vae("deterministic")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model folder."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    model = small_vae()
    save_model(folder, model, model.state_dict())
    return folder


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "_MLFLOW_", "DVC_")) or name == "VAEBALANCE_EXPERIMENT":
            monkeypatch.delenv(name)


def make_project(
    root: Path, trained: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    clean_environment(monkeypatch)
    for name, value in store.ENVIRONMENT.items():  # so that they are taken back afterwards
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root)
    shutil.copy(database, root / "mlflow.db")
    return Project(root, trained)


@pytest.fixture
def project(
    tmp_path: Path, trained: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Make an empty project with an empty store; the working directory is its root."""
    return make_project(tmp_path, trained, fresh_database, monkeypatch)


@pytest.fixture(scope="module")
def shared_project(
    tmp_path_factory: pytest.TempPathFactory, trained: Path, fresh_database: Path
) -> Any:
    """Make such a project for a whole module."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("project")
        yield make_project(root, trained, fresh_database, patch)
