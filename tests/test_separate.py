"""benchmarks/separate.py: models trained at once, each as if it were alone."""

import runpy
from pathlib import Path

import pytest
import torch

from vaebalance.base.reports import CurveReport
from vaebalance.settings import CurveSettings, parse, read_yaml

ROOT = Path(__file__).parents[1]
MODULE = runpy.run_path(str(ROOT / "benchmarks" / "separate.py"))
PlainTraining, SeparateTraining = MODULE["PlainTraining"], MODULE["SeparateTraining"]

BETAS = (0.1, 1.0, 4.0)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def settings(request):
    raw = read_yaml(ROOT / "params.yaml")
    architecture = {"kind": "mlp", "hidden": [32], "activation": "relu"}
    raw["model"] |= {"architecture": architecture, "latent_size": 4}
    raw["train"] |= {"epochs": 3, "learning_rate": 0.003, "device": request.param}
    raw["curve"] |= {"factor": 1.0}
    found = parse(raw)
    return CurveSettings(**{name: getattr(found, name) for name in CurveSettings.model_fields})


def epochs_of(training):
    return [report for report in training if isinstance(report, CurveReport)]


def test_each_is_what_it_is_alone(digits, settings):
    together = SeparateTraining(settings, digits, BETAS)
    reports = epochs_of(together)
    alone = [PlainTraining(settings, digits, beta) for beta in BETAS]
    told = [epochs_of(training) for training in alone]
    for beta, lone in zip(BETAS, alone, strict=True):
        found = together.curve.model_at(beta).state_dict()
        torch.testing.assert_close(found, lone.model.state_dict(), rtol=1e-3, atol=1e-4)
    for report, *others in zip(reports, *told, strict=True):
        mean = sum(other.train.distortion for other in others) / len(others)
        assert report.train.distortion == pytest.approx(mean, rel=1e-3)
        assert report.beta is None


@pytest.mark.usefixtures("quick_checkpoints")
def test_it_resumes(digits, settings, tmp_path):
    whole = SeparateTraining(settings, digits, BETAS)
    epochs_of(whole)
    cut = SeparateTraining(settings, digits, BETAS)
    cut.resume(tmp_path / "kept.pt", "it")
    for report in cut:
        if isinstance(report, CurveReport) and report.epoch == 2:
            break
    again = SeparateTraining(settings, digits, BETAS)
    again.resume(tmp_path / "kept.pt", "it")
    assert [report.epoch for report in epochs_of(again)] == [1, 2, 3]
    for beta in BETAS:
        one, other = (run.curve.model_at(beta).state_dict() for run in (whole, again))
        assert all(torch.equal(value, other[name]) for name, value in one.items())
