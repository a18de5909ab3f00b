"""Files of an evaluation, for dvc metrics, the report and people."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.metrics import rows
from vaebalance.evaluation.results import (
    describe,
    read_codes,
    refuse_non_finite,
    write,
    write_seconds,
)
from vaebalance.evaluation.stage import evaluate

SPEC = EvaluateSpec(
    nll_samples=4,
    batch_size=64,
    active_threshold=0.01,
    latent_samples=100,
    sample_images=0,
    inception_weights=None,
)


@pytest.fixture(params=["gaussian", "deterministic"])
def evaluation(request, make_vae, make_dataset):
    """Evaluate a VAE, and an autoencoder."""
    model = make_vae(posterior=request.param)
    return evaluate(model, make_dataset(label=torch.arange(90) % 10), SPEC, 0)


def test_the_json_is_strict_and_grouped(evaluation, tmp_path):
    write(evaluation, tmp_path / "metrics/evaluation.json", tmp_path / "evaluation")

    def refuse(name):
        raise AssertionError(f"{name} in the JSON")

    text = (tmp_path / "metrics/evaluation.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert list(content) == ["test", "latents", "samples", "disentanglement", "settings"]
    for group in ("test", "latents"):
        for name, value in content[group].items():
            assert evaluation.metrics()[f"{group}/{name}"] == value
    assert content["settings"]["nll_samples"] == 4
    assert content["settings"]["active_threshold"] == 0.01


def test_the_table_and_the_codes_come_back(evaluation, tmp_path):
    write(evaluation, tmp_path / "evaluation.json", tmp_path / "evaluation")
    table = pd.read_csv(tmp_path / "evaluation/rate_by_latent.csv")
    columns = ["latent", "rate", "aggregate_mean", "aggregate_variance", "variance_of_mean"]
    assert list(table.columns) == [*columns, "active"]
    assert table["latent"].tolist() == [0, 1, 2]
    assert table["active"].tolist() == evaluation.latent_table.active.tolist()
    if evaluation.latent_table.rate is None:
        assert table["rate"].isna().all()
    else:
        np.testing.assert_array_equal(table["rate"], evaluation.latent_table.rate)
    codes = read_codes(tmp_path / "evaluation")
    for name, values in vars(evaluation.codes).items():
        np.testing.assert_array_equal(getattr(codes, name), values)


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_else(evaluation, tmp_path):
    def content():
        write(evaluation, tmp_path / "evaluation.json", tmp_path / "evaluation")
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in files}

    first = content()
    assert content() == first
    assert set(first) == {
        "evaluation.json",
        "evaluation/codes.npz",
        "evaluation/metrics.csv",
        "evaluation/rate_by_latent.csv",
    }


def test_missing_codes_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"codes\.npz is missing; run `dvc repro evaluate`"):
        read_codes(tmp_path)


@pytest.mark.parametrize("part", ["mean", "std"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_codes_that_are_not_finite_are_refused(tmp_path, part, value):
    arrays = {"mean": np.zeros((3, 2)), "std": np.ones((3, 2))}
    arrays |= {"index": np.arange(3), "label": np.zeros(3, int)}
    arrays[part][1, 1] = value
    np.savez(tmp_path / "codes.npz", **arrays)
    with pytest.raises(UserError, match=r"codes\.npz has codes that are NaN or infinite"):
        read_codes(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(make_vae, make_dataset, value):
    good = evaluate(make_vae(), make_dataset(), SPEC, 0)
    assert refuse_non_finite(good) is good
    bad = dataclasses.replace(good, test=dataclasses.replace(good.test, psnr=value))
    with pytest.raises(UserError, match=f"test/psnr = {value}; must be finite"):
        refuse_non_finite(bad)


def test_the_description_has_every_number_that_applies(evaluation):
    text = describe(evaluation, "mind the gap")
    assert "nats are per image, of the model's likelihood, bernoulli" in text
    assert "note: mind the gap" in text
    assert "None" not in text
    for row in rows(evaluation.to_json()):
        if row.value is not None:
            shown = row.value if isinstance(row.value, int) else f"{row.value:.4f}"
            assert f"{row.measure.name} " in text
            assert f"{shown}" in text
    bounds_apply = evaluation.test.rate is not None
    assert ("K = 4 samples" in text) == ("rate R" in text) == bounds_apply
    assert ("plain autoencoder" in text) != bounds_apply
    assert "Var_x(E[z|x]) > 0.01" in text


def test_the_metrics_table_has_each_number_once_with_its_companions(evaluation, tmp_path):
    write(evaluation, tmp_path / "evaluation.json", tmp_path / "evaluation")
    table = pd.read_csv(tmp_path / "evaluation/metrics.csv").set_index("metric")
    assert table.index.is_unique
    metrics = evaluation.metrics()
    for key, value in table["value"].items():
        assert value == pytest.approx(metrics[key], nan_ok=True) or metrics[key] is None
    row = table.loc["latents/coverage"]
    assert row["reference"] == pytest.approx(metrics["latents/coverage_null"])
    assert row["reference_is"] == "prior against prior"
    assert (row["name"], row["better"]) == ("coverage of the prior by codes", "higher")
    row = table.loc["latents/two_sample_accuracy"]
    error = metrics["latents/two_sample_accuracy_standard_error"]
    assert row["standard_error"] == pytest.approx(error)
    assert row["reference"] == 0.5


def test_seconds_are_apart_from_what_must_not_change(evaluation, tmp_path):
    write_seconds(evaluation, tmp_path / "seconds.csv")
    table = pd.read_csv(tmp_path / "seconds.csv")
    assert table["part"].tolist() == list(evaluation.seconds)
    assert table["share"].sum() == pytest.approx(1, abs=0.01)
    assert "seconds" not in evaluation.to_json()


def test_importing_the_evaluation_is_light():
    """Check the import of `EvaluateSpec`, which every stage needs to start."""
    code = (
        "import sys, vaebalance.evaluation; "
        "print({'torchvision', 'pandas', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
