"""The location of the store, and several processes that open it first at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.tracking.store import open_store, project_root, tracking_uri

FIRST_TOUCH = """
import sys, time
from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.base.provenance import make_provenance

dataset, waiting = {"name": "digits", "digest": "d"}, [sys.argv[1], "shared"]
while waiting:
    try:
        with tracking.run(make_provenance({"beta": waiting[0]}, dataset, "c"), "train"):
            waiting.pop(0)
    except UserError:  # another process is at it
        time.sleep(0.01)
"""


def test_importing_it_imports_neither_mlflow_nor_torch():
    code = (
        "import sys, vaebalance.tracking; print({'mlflow', 'torch', 'pandas'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_the_store_is_at_the_real_root_when_the_work_is_in_a_copy(monkeypatch, tmp_path):
    copy = tmp_path / "repo/.dvc/tmp/exps/copy"
    for folder in (tmp_path / "repo", copy):
        (folder / ".dvc").mkdir(parents=True)
        (folder / "dvc.yaml").touch()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repo"))
    assert project_root() == tmp_path / "repo"
    monkeypatch.delenv("DVC_ROOT")
    (tmp_path / "repo/src/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repo/src/deep")
    assert project_root() == tmp_path / "repo"


def test_a_store_of_the_users_own_is_honoured(project, monkeypatch, tmp_path):
    default = tracking_uri()
    assert default == f"sqlite:///{project.root}/mlflow.db"
    (tmp_path / "else where #1").mkdir()
    uri = f"sqlite:///{tmp_path}/else where #1/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    project.write_training(project.provenance())
    with tracking.run(project.provenance(), "train") as tracker:
        pass
    (artifact,) = (tmp_path / "else where #1").glob(
        "mlartifacts/vaebalance/*/artifacts/history.csv"
    )
    assert tracker.run_id in str(artifact)
    assert len(tracking.runs(stage="train")) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", default)
    assert tracking.runs(stage="train") == []


def test_configure_sets_safe_defaults_but_not_over_the_users(project, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "ERROR")
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION")
    before = mlflow.get_tracking_uri()
    try:
        assert tracking.configure() == mlflow.get_tracking_uri() == tracking_uri()
    finally:
        mlflow.set_tracking_uri(before)
    from mlflow import environment_variables

    assert environment_variables.MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get() is False
    assert environment_variables.MLFLOW_DISABLE_TELEMETRY.get() is True
    assert environment_variables.MLFLOW_LOGGING_LEVEL.get() == "ERROR"


def test_a_deleted_experiment_is_named_with_the_remedy(project, monkeypatch):
    store = open_store()
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match=r"'vaebalance' .* deleted.*experiments restore"):
        open_store()
    monkeypatch.setenv("VAEBALANCE_EXPERIMENT", "another")
    assert open_store().experiment_id != store.experiment_id


def test_processes_that_all_come_first_all_survive(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "VAEBALANCE_EXPERIMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_TOUCH, str(beta)],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for beta in range(3)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors
    assert errors == [""] * 3  # quiet, too
    runs = tracking.runs(stage="train")
    assert sorted(run.params["beta"] for run in runs) == [*"012", "shared"]
    assert not list(Path(tmp_path).glob(".mlflow.db*"))
