"""The comparison's page: its content, and its look in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.small_runs import HOSTILE, SPEC
from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.pages.comparison.comparison_page import build, summarise
from vaebalance.pages.comparison.options import Options
from vaebalance.pages.comparison.panels import rows
from vaebalance.pages.comparison.panels.codes import latent_planes
from vaebalance.pages.comparison.panels.differences import differences, measures
from vaebalance.pages.comparison.panels.trade_offs import plane
from vaebalance.pages.kit.decoded import prior_samples

HOSTILE_NAME = "<script>window.hacked = 4</script> 😀 " + "endless" * 40


@pytest.fixture(scope="module")
def mixed(compared_runs, tmp_path_factory):
    """Build the page of runs of every kind, all with a hostile name; returns its path."""
    from dataclasses import replace

    runs = compared_runs("one", "gaussian", "autoencoder", "hostile")
    runs = [replace(run, name=HOSTILE_NAME[:60]) for run in runs]
    return build(runs, SPEC, 0, tmp_path_factory.mktemp("mixed") / "compare")


def test_every_number_of_every_run_stands_in_one_table(compared_runs):
    runs = compared_runs("one", "four")
    panel = measures(runs)
    cells = {line[0]: line[1:] for table in panel.blocks for line in table.rows}
    a, b = cells["RMSE"][:2]
    assert a.startswith("★") != b.startswith("★")
    assert cells["active latents"][-1] == ""
    assert len(cells) >= 10
    lines = panel.files["measurements.csv"].decode().splitlines()
    assert lines[0] == "key,A: β 1,B: β 4,unit"
    rate = next(line for line in lines if line.startswith("test/rate,")).split(",")
    assert [float(x) for x in rate[1:3]] == [run.rows["test/rate"].value for run in runs]


def test_only_settings_that_differ_are_shown(compared_runs):
    (table,) = differences(compared_runs("one", "four")).blocks
    names = {row[0] for row in table.rows if not row[0].startswith("evaluate.")}
    assert names == {"balance.beta", "model.latent_size"}
    assert ("balance.beta", "1.0", "4.0") in table.rows
    assert differences(compared_runs("one", "one")).reading == "None."


def test_runs_whose_nats_are_not_comparable_have_separate_planes(compared_runs):
    (together,) = plane(compared_runs("one", "four")).blocks
    assert len(together.charts) == 1
    assert [p["label"] for p in together.charts[0].live["datasets"]["points"]] == ["A", "B"]
    (apart,) = plane(compared_runs("one", "four", "gaussian")).blocks
    assert sorted(len(c.live["datasets"]["points"]) for c in apart.charts) == [1, 2]
    assert plane(compared_runs("autoencoder", "autoencoder")).blocks == ()


def test_the_same_images_and_the_same_noise(compared_runs, monkeypatch):
    decoded = {}

    def keep(name, titled, marks):
        decoded[name] = {title[0]: row for title, _, row in titled}
        return {}

    monkeypatch.setattr("vaebalance.pages.comparison.panels.rows._strip_files", keep)
    runs = compared_runs("one", "one", "four")
    rows.reconstructions(runs, SPEC, 0)
    rows.samples(runs, SPEC, 0)
    assert set(decoded["reconstructions"]) == {"i", "A", "B", "C"}
    torch.testing.assert_close(decoded["reconstructions"]["A"], decoded["reconstructions"]["B"])
    assert len(decoded["reconstructions"]["i"]) == SPEC.images
    model = runs[0].evaluated.model
    # A run's samples are those of its report.
    torch.testing.assert_close(decoded["samples"]["A"], prior_samples(model, SPEC.images, 0))


def test_planes_are_of_the_same_images(compared_runs):
    runs = compared_runs("one", "four", "autoencoder")
    (block,) = latent_planes(runs, SPEC).blocks
    assert [chart.title for chart in block.charts] == ["A: β 1", "B: β 4", "C: α 1"]
    labels = [[p["label"] for p in c.live["datasets"]["codes"]] for c in block.charts]
    assert labels[0] == labels[1] == labels[2]
    points = [[(p["x"], p["y"]) for p in c.live["datasets"]["codes"]] for c in block.charts]
    assert not np.allclose(points[0], points[1])


def test_without_their_images_runs_are_compared_by_numbers(compared_runs):
    runs = compared_runs("one", "four", images_of=None)
    assert rows.reconstructions(runs, SPEC, 0).blocks == ()
    assert latent_planes(runs, SPEC).blocks == ()
    assert measures(runs).blocks
    assert rows.samples(runs, SPEC, 0).blocks


def test_the_page_names_what_is_not_comparable(compared_runs):
    def text_of(*names):
        summary = summarise(compared_runs(*names))
        return summary.lead + (summary.caution or "")

    assert "all numbers are comparable" in text_of("one", "four")
    assert "different likelihoods" in text_of("one", "gaussian")
    assert "different images" in text_of("one", "hostile")


def test_the_same_runs_give_the_same_bytes(compared_runs, tmp_path):
    pages = [build(compared_runs("one", "four"), SPEC, 0, tmp_path / name) for name in "ab"]
    names = {path.name for path in pages[0].parent.iterdir()}
    assert {"index.html", "rate_distortion.svg", "samples.png", "measurements.csv"} <= names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_runs_come_out_of_the_store_as_they_went_in(store, run, tmp_path):
    summaries = {summary.experiment: summary for summary in tracking.runs(stage="train")}
    tracking.fetch(summaries["tidal-newt"].run_id, tmp_path)
    for name in (
        "artifacts/model/weights.safetensors",
        "artifacts/model/model.json",
        "artifacts/model/provenance.json",
        "artifacts/history.csv",
        "artifacts/verdicts.json",
        "artifacts/evaluation/codes.npz",
        "artifacts/evaluation/rate_by_latent.csv",
        "metrics/evaluation.json",
    ):
        assert (tmp_path / name).read_bytes() == (run("one").root / name).read_bytes(), name
    with pytest.raises(UserError, match="has no model"):
        tracking.fetch(summaries[None].run_id, tmp_path / "third")


def test_the_command_writes_the_page(store, capsys):
    from vaebalance.pages.comparison import compare as command

    command.run(Options(("tidal-newt", "<script>window.hacked=1"), store / "out", list=False))
    assert f"comparison: {store / 'out/index.html'}" in capsys.readouterr().out
    page = (store / "out/index.html").read_text(encoding="utf-8")
    assert "B: β 4" in page
    assert "<script>window" not in page
    command.run(Options((), store / "out", list=True))
    listed = capsys.readouterr().out
    assert "experiment tidal-newt" in listed
    assert listed.count("not evaluated") == 1
    with pytest.raises(UserError, match="is not a run"):
        command.run(Options(("tidal-newt", "nothing"), store / "none", list=False))
    assert not (store / "none").exists()


CHROMIUM = os.environ.get("VAEBALANCE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium: set VAEBALANCE_CHROMIUM to one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_draws_offline_fits_and_axe_finds_nothing(mixed, browser, width):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(mixed.as_uri())
    page.wait_for_selector("html.drawn", timeout=60_000)
    assert heard == []
    assert page.locator(".chart.failed").count() == 0
    assert page.evaluate("window.hacked") is None
    assert HOSTILE[0] not in page.content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_pointing_at_an_image_marks_it_in_every_plane(mixed, browser):
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(mixed.as_uri())
    page.wait_for_selector("html.drawn", timeout=60_000)
    data = json.loads(page.locator("#data").text_content())
    drawn = [name for name in data["charts"] if re.fullmatch(r"latent_plane_.", name)]
    assert len(drawn) == 3  # the images of the fourth run are not available
    chart = page.locator(f"[data-chart={drawn[0]}]")
    chart.focus()
    page.keyboard.press("+")
    assert page.locator("#said").text_content() in data["planes"]["planes"]["names"]
    for name in drawn:
        # The last mark of a plane is the ring around the point pointed at.
        ring = page.locator(f"[data-chart={name}] g.mark-symbol").last.locator("path")
        ring.wait_for(state="attached")
        assert ring.count() == 1
    context.close()
