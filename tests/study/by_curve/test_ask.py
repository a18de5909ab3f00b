"""`tune.method: curve` on a project on disk: one training, then answers."""

import io
import json
import re
import runpy
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from vaebalance.base.errors import UserError
from vaebalance.curve.saved_curve import read_rows
from vaebalance.data import prepare
from vaebalance.pages.slider import curve_page as show
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.study.by_curve import ask as command
from vaebalance.study.by_curve.ask import run
from vaebalance.study.options import Options
from vaebalance.tracking.registry import read_promotion

ROOT = Path(__file__).parents[3]
RUN = Options(list=False, promote=None)
CURVE = Path("artifacts/curve")
SMALL = {
    "hidden": "[16]",
    "max_images": "400",
    "epochs": "30",
    "learning_rate": "0.003",
    "device": "cpu",
    "points": "7",
    "sample_images": "0",
}


def edit(**values):
    """Edit knobs of params.yaml whose names occur once, or first in `tune`."""
    text = Path(PARAMS).read_text("utf-8")
    start = text.index("\ntune:")
    for name, value in values.items():
        pattern = rf"(?m)^( *{name}:) +[^#\n]*?( *#)"
        if name in ("method", "objective"):
            tail, count = re.subn(pattern, rf"\1 {value}\2", text[start:], count=1)
            text = text[:start] + tail
        else:
            text, count = re.subn(pattern, rf"\1 {value}\2", text)
        assert count == 1, name
    Path(PARAMS).write_text(text, "utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory, fresh_database):
    """Make a project, run `vaebalance study` once, and return the folder and the output."""
    root = tmp_path_factory.mktemp("project")
    (root / ".dvc").mkdir()
    shutil.copy(fresh_database, root)
    for name in ("dvc.yaml", "curve/dvc.yaml", "params.yaml"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.chdir(root)
        for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setattr(show, "show", lambda *_: None)  # other tests cover the page
        patch.setattr("sys.argv", ["tune.py"])
        edit(method="curve", **SMALL)
        settings = load(Settings)
        prepare(settings.data, settings.seed, root / "data" / "prepared")
        runpy.run_path(str(ROOT / "pipelines" / "tune.py"), run_name="__main__")
    return root, said.getvalue()


@pytest.fixture
def project(made, monkeypatch):
    """Enter that project, and restore its params.yaml afterwards."""
    root, _ = made
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = (root / PARAMS).read_bytes()
    yield root
    (root / PARAMS).write_bytes(before)


@pytest.fixture
def no_training(monkeypatch):
    def fail(*_):
        raise AssertionError("it trained")

    monkeypatch.setattr(command.curves, "train", fail)


def rows():
    return [row for row in read_rows(CURVE) if row.split == "validation"]


def best():
    return min(rows(), key=lambda row: row.calibrated_nll)


def test_the_command_trains_one_curve_and_answers(made, project):
    _, said = made
    assert "there is no curve in artifacts/curve yet" in said
    assert (
        "answered from the curve, one training instead of 20 trials: "
        f"β = {best().beta:.6g} (at α = 1;"
    ) in said
    assert "--promote best`." in said
    assert not Path("studies").exists()


def test_asked_again_it_does_not_train(project, no_training, capsys):
    run(RUN)
    assert f"β = {best().beta:.6g} (at α = 1;" in capsys.readouterr().out


def test_other_settings_train_anew_and_say_why(project, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(command.curves, "train", lambda *_: trained.append(1))
    edit(latent_size="7")
    run(RUN)
    assert trained == [1]
    said = capsys.readouterr().out
    assert "training one anew:\n  model.latent_size: 8 in the curve, 7 now" in said


def test_a_frontier_has_its_pareto_set_and_the_knee(project, no_training, capsys):
    edit(objective="{kind: frontier}")
    run(RUN)
    said = capsys.readouterr().out
    knee = json.loads(Path("metrics/curve.json").read_text())["knee"]["beta"]
    assert "Pareto set, " in said
    assert re.search(r"\d of the curve's 7 points are on the Pareto set; hypervolume [\d.]+", said)
    assert f"β = {knee:.6g} (at α = 1;" in said
    with pytest.raises(UserError, match="no best point"):
        run(Options(list=False, promote="best"))
    run(Options(list=False, promote="knee"))
    assert load(Settings).balance.beta == knee


@pytest.mark.parametrize("minimise", ["rate", "distortion"])
def test_a_target_is_met_by_bisection(project, no_training, capsys, minimise):
    first, second = rows()[2:4]
    given = "distortion" if minimise == "rate" else "rate"
    limit = (getattr(first, given) + getattr(second, given)) / 2
    edit(objective=f"{{kind: constrained, minimise: {minimise}, {given}: {limit}}}")
    run(RUN)
    run(Options(list=False, promote="best"))
    beta = load(Settings).balance.beta
    assert first.beta < beta < second.beta
    said = capsys.readouterr().out
    least = float(re.search(rf"the least {minimise}, ([\d.]+) nats", said)[1])
    ends = sorted(getattr(row, minimise) for row in (first, second))
    assert ends[0] < least < ends[1]
    assert float(re.search(r"which it meets with (\d+\.\d+)", said)[1]) <= limit + 1e-4


def test_promoting_writes_the_weight_and_nothing_else(project, no_training):
    before = load(Settings)
    run(Options(list=False, promote="best"))
    after = load(Settings)
    assert (after.balance.alpha, after.balance.beta) == (1.0, best().beta)
    assert after == before.replace(balance=after.balance)
    record = read_promotion(project)
    assert (record.curve.rule, record.curve.beta) == ("nll", best().beta)
    assert record.values == {"curve/calibrated_nll": best().calibrated_nll}


def test_a_trial_cannot_be_promoted(project):
    before = (project / PARAMS).read_bytes()
    with pytest.raises(UserError, match=r"--promote 7: tune\.method is 'curve', so there are no"):
        run(Options(list=False, promote=7))
    assert (project / PARAMS).read_bytes() == before


def test_listing_shows_the_curve(project, no_training, capsys):
    run(Options(list=True, promote=None))
    said = capsys.readouterr().out
    assert "validation images, nats per image" in said
    for row in rows():
        assert f"{row.beta:.4g}" in said


@pytest.mark.parametrize("options", [Options(list=True, promote=None), Options(False, "best")])
def test_listing_and_promoting_want_the_curve_of_these_settings(project, no_training, options):
    edit(latent_size="7")
    with pytest.raises(UserError, match=r"model\.latent_size: 8 in the curve, 7 now"):
        run(options)
