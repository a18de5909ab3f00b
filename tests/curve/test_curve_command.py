"""The commands on a project on disk: train once, then answer from the saved curve."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import read_provenance
from vaebalance.base.reports import CurveReport
from vaebalance.cli.curve import run
from vaebalance.curve import curve_command as command
from vaebalance.curve.curve_training import AbstractCurveTraining
from vaebalance.curve.options import Options
from vaebalance.curve.saved_curve import load_curve, read_rows
from vaebalance.data import open_dataset, prepare
from vaebalance.run import training_run as experiment
from vaebalance.settings import PARAMS, Settings, TrainSettings, load
from vaebalance.tracking.registry import CurveOrigin, read_promotion
from vaebalance.tracking.store import open_store
from vaebalance.vae.saved_model import load_model

ROOT = Path(__file__).parents[2]
SMALL = {
    "hidden": "[16]",
    "max_images": "400",
    "epochs": "40",
    "learning_rate": "0.003",
    "device": "cpu",
    "points": "7",
    "sample_images": "0",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, fresh_database):
    """Make a project with a curve."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(fresh_database, root)
    text = (ROOT / PARAMS).read_text("utf-8")
    for name, value in SMALL.items():
        text, count = re.subn(rf"(?m)^( *{name}:) +[^#\n]*?( *#)", rf"\1 {value}\2", text)
        assert count == 1, name
    (root / PARAMS).write_text(text, "utf-8")
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / "dvc.yaml", root)
    (root / "curve").mkdir()
    shutil.copy(ROOT / "curve" / "dvc.yaml", root / "curve")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        settings = load(Settings)
        prepare(settings.data, settings.seed, root / "data" / "prepared")
        run(Options())
    return root


@pytest.fixture
def project(trained, monkeypatch):
    """Enter that project, and restore its params.yaml afterwards."""
    monkeypatch.chdir(trained)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = (trained / PARAMS).read_bytes()
    yield trained
    (trained / PARAMS).write_bytes(before)


def curve_runs():
    store = open_store()
    found = store.client.search_runs([store.experiment_id], "tags.`vaebalance.curve` != ''")
    return store, found


def test_mlflow_has_the_curve_as_functions_of_its_place(project):
    store, (tracked,) = curve_runs()
    assert tracked.info.status == "FINISHED"
    rows = [row for row in read_rows(Path("artifacts/curve")) if row.split == "test"]
    for name in ("beta", "distortion", "rate", "nll", "active_units"):
        history = store.client.get_metric_history(tracked.info.run_id, f"test/{name}")
        found = [metric.value for metric in sorted(history, key=lambda metric: metric.step)]
        assert found == [getattr(row, name) for row in rows]
    kept = {file.path for file in store.client.list_artifacts(tracked.info.run_id, "curve")}
    tables = ("curve.csv", "curve.json", "provenance.json", "weights.safetensors")
    assert kept == {f"curve/{name}" for name in (*tables, "index.html", "curve.gif", "slider.npz")}
    assert tracked.data.params["curve.method"] == "conditioned"
    metrics = json.loads(Path("metrics/curve.json").read_text())
    assert tracked.data.metrics["best/nll"] == metrics["best"]["nll"]


def test_the_page_has_sixty_states_and_the_named_ones(project):
    page = Path("artifacts/curve/index.html").read_text("utf-8")
    data = json.loads(
        re.search(r'<script[^>]* id="slider-data"[^>]*>(.*?)</script>', page, re.S)[1]
    )
    assert 58 <= len(data["logs"]) <= 60
    knee = json.loads(Path("metrics/curve.json").read_text())["knee"]["beta"]
    for beta in (0.01, 10.0, 1.0, knee):
        assert min(abs(log - math.log10(beta)) for log in data["logs"]) < 1e-3
    assert "knee" in page
    assert "best nll" in page
    with Image.open("artifacts/curve/curve.gif") as animation:
        assert animation.n_frames > 60


def test_again_the_same_bytes_and_no_other_run(project):
    before = {path.name: path.read_bytes() for path in Path("artifacts/curve").iterdir()}
    run(Options())
    assert {path.name: path.read_bytes() for path in Path("artifacts/curve").iterdir()} == before
    store, (tracked,) = curve_runs()
    assert len(store.client.get_metric_history(tracked.info.run_id, "test/rate")) == 7


@pytest.mark.usefixtures("quick_checkpoints")
def test_a_killed_training_is_finished_by_the_same_command(project, monkeypatch):
    """The result equals that of an uninterrupted training, and no checkpoint remains."""
    before = {path.name: path.read_bytes() for path in Path("artifacts/curve").iterdir()}
    seen = []

    def killed_at_30(training, name):
        for report in training:
            if isinstance(report, CurveReport):
                seen.append(report.epoch)
            if len(seen) == 30:
                raise KeyboardInterrupt
            yield report

    monkeypatch.setattr(command, "progress", killed_at_30)
    with pytest.raises(KeyboardInterrupt):
        run(Options())
    (kept,) = Path("checkpoints").iterdir()
    trained = []
    real = AbstractCurveTraining.batches
    monkeypatch.setattr(
        AbstractCurveTraining, "batches", lambda self, n: trained.append(n) or real(self, n)
    )
    monkeypatch.setattr(command, "progress", lambda training, name: iter(training))
    run(Options())
    assert trained == list(range(31, 81))
    assert {path.name: path.read_bytes() for path in Path("artifacts/curve").iterdir()} == before
    assert not kept.exists()
    assert curve_runs()[1][0].info.status == "FINISHED"


def test_a_target_is_answered(project, capsys):
    rows = [row for row in read_rows(Path("artifacts/curve")) if row.split == "validation"]
    wanted = (rows[1].rate + rows[2].rate) / 2
    run(Options(target=("rate", wanted)))
    found = re.search(r"β = ([\d.e-]+) .* rate ([\d.]+) on validation", capsys.readouterr().out)
    assert rows[1].beta < float(found[1]) < rows[2].beta
    assert float(found[2]) == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("choice", ["best", "knee", 0.5])
def test_promoting_writes_the_weights_and_nothing_else(project, choice):
    before = load(Settings)
    run(Options(promote=choice))
    after = load(Settings)
    rows = [row for row in read_rows(Path("artifacts/curve")) if row.split == "validation"]
    expected = min(rows, key=lambda row: row.calibrated_nll).beta if choice == "best" else choice
    if choice == "knee":
        expected = json.loads(Path("metrics/curve.json").read_text())["knee"]["beta"]
    assert (after.balance.alpha, after.balance.beta) == (1.0, expected)
    assert after == before.replace(balance=after.balance)
    run(Options(target=("rate", rows[2].rate)))  # the curve does not depend on the balance


def test_promoting_leaves_a_record_of_where_it_comes_from(project, capsys):
    run(Options(promote="knee"))
    record = read_promotion(project)
    made = read_provenance(Path("artifacts/curve"))
    knee = json.loads(Path("metrics/curve.json").read_text())["knee"]["beta"]
    assert record.curve == CurveOrigin(made.fingerprint, "conditioned", "knee", knee)
    assert (record.study, record.trial) == (None, None)
    assert record.point == {"balance.alpha": 1.0, "balance.beta": knee}
    row = next(row for row in read_rows(Path("artifacts/curve")) if row.beta == knee)
    assert record.values == {"curve/distortion": row.distortion, "curve/rate": row.rate}
    settings, dataset = load(TrainSettings), open_dataset(Path("data/prepared"))
    assert record.is_of(experiment.provenance_of(settings, dataset))
    said = capsys.readouterr().out
    assert record.why in said
    assert "Train with it: `dvc repro`, which registers the model." in said
    run(Options(promote=0.25))
    assert read_promotion(project).curve.rule == "by hand"
    other = settings.replace(seed=1)
    assert not record.is_of(experiment.provenance_of(other, dataset))


def test_promoting_takes_the_place_of_another_balance(project):
    text = (project / PARAMS).read_text("utf-8")
    start, end = text.index("  kind: fixed"), text.index("\npenalty:")
    other = "  kind: control_vae         # a controller\n  rate: 20.0\n"
    (project / PARAMS).write_text(text[:start] + other + text[end:], "utf-8")
    run(Options(promote=0.25))
    assert load(Settings).balance.model_dump() == {"kind": "fixed", "alpha": 1.0, "beta": 0.25}


def test_distilling_leaves_an_ordinary_model(project, tmp_path):
    run(Options(distill=(0.5, tmp_path / "model")))
    model = load_model(tmp_path / "model")
    x = torch.rand(3, 1, 8, 8)
    conditioned = load_curve(Path("artifacts/curve")).model
    given = conditioned.given(torch.full((3,), 0.5))
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x).mean, given.encode(x).mean, atol=1e-5, rtol=1e-5)
    origin = json.loads((tmp_path / "model" / "provenance.json").read_text())
    assert origin["params"]["balance"] == {"kind": "fixed", "alpha": 1.0, "beta": 0.5}


def test_a_beta_beyond_the_curve_is_refused(project):
    before = (project / PARAMS).read_bytes()
    with pytest.raises(UserError, match=r"β = 50: this curve is of β from 0\.01 to 10"):
        run(Options(promote=50.0))
    assert (project / PARAMS).read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("latent_size: 8 ", "latent_size: 9 ", r"model\.latent_size: 8 in the curve, 9 now"),
        ("seed: 0 ", "seed: 1 ", r"seed: 0 in the curve, 1 now"),
        ("factor: 2.0 ", "factor: 1.0 ", r"curve\.factor: 2\.0 in the curve, 1\.0 now"),
    ],
)
def test_a_curve_of_other_settings_is_refused(project, old, new, words):
    text = (project / PARAMS).read_text("utf-8")
    assert text.count(old) == 1
    (project / PARAMS).write_text(text.replace(old, new), "utf-8")
    with pytest.raises(UserError, match=words):
        run(Options(promote="best"))


def test_settings_that_change_no_model_are_free(project, capsys):
    text = (project / PARAMS).read_text("utf-8")
    (project / PARAMS).write_text(text.replace("patience: 15 ", "patience: 14 "), "utf-8")
    run(Options(promote="best"))
    assert "dvc repro" in capsys.readouterr().out


def test_without_a_curve_it_says_what_to_run(project, tmp_path, monkeypatch):
    for name in (PARAMS, "data"):
        (tmp_path / name).symlink_to(project / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no curve here; train one"):
        run(Options(promote="best"))
