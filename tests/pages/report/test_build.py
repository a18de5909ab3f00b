"""The report's folder: its content, and its reproducibility."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from tests.helpers.small_runs import HOSTILE, SPEC, VARIANTS
from vaebalance.base.errors import UserError
from vaebalance.pages.figures.picture_sheets import sheet, svg
from vaebalance.pages.kit.blocks import Panel, Prose
from vaebalance.pages.kit.csv_text import as_csv
from vaebalance.pages.kit.page import render
from vaebalance.pages.report.build import build, report
from vaebalance.pages.report.inputs import read_inputs
from vaebalance.pages.report.panels.decoder import samples
from vaebalance.pages.report.panels.loss import penalty_components
from vaebalance.pages.report.summary import summarise

PARAMS = Path(__file__).resolve().parents[3] / "params.yaml"
FIGURES = {
    f"{name}.{kind}"
    for name in (
        "aggregate_posterior",
        "interpolations",
        "latent_plane",
        "loss_components",
        "manifold",
        "rate_by_latent",
        "rate_distortion",
        "reconstructions",
        "samples",
        "traversals",
    )
    for kind in ("png", "svg")
}
TABLES = {
    f"{name}.csv"
    for name in (
        "aggregate_posterior",
        "best_epoch",
        "conventions",
        "latents",
        "measurements",
        "rate_distortion",
        "reconstructions",
        "settings",
    )
}
NEIGHBOURS = {"latent_neighbours.png", "latent_neighbours.svg"}
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The content of a page that a browser sees without running scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data = ""
        self.style = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "script":
            if attributes.get("type") == "application/json":
                self.data += data
        elif tag == "style":
            self.style += data
        else:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module", params=list(VARIANTS))
def page(request, pages):
    return Page(pages(request.param))


def test_page_loads_nothing_from_anywhere(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:")), (tag, target)
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "$schema" not in page.data


def test_page_says_what_is_in_its_pictures_and_charts(page):
    assert page.all("img")
    assert all(attributes["alt"] for attributes in page.all("img"))
    charts = [a for a in page.all("div") if "data-chart" in a]
    assert len(charts) >= 5
    assert all(len(chart["aria-label"]) > 40 for chart in charts)
    assert {c["data-chart"] for c in charts} == set(json.loads(page.data)["charts"])


def test_page_is_well_made(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"].removeprefix("#") for a in page.all("a")}
    assert links <= set(ids)
    headings = [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    assert page.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize("variant", VARIANTS)
def test_page_is_small_and_its_figures_lie_beside_it(variant, pages):
    page = pages(variant)
    assert page.stat().st_size < 8_000_000
    expected = FIGURES | TABLES | {"index.html"}
    if variant not in ("one_latent", "two_latents", "collapsed", "collapsed_autoencoder"):
        expected |= NEIGHBOURS
    if "autoencoder" in variant:
        expected -= {name for name in expected if name.startswith("rate_distortion")}
    if variant in (
        "autoencoder",
        "collapsed_autoencoder",
        "one_latent",
    ):  # there is no balance to translate
        expected -= {"conventions.csv"}
    assert {path.name for path in page.parent.iterdir()} == expected
    for path in page.parent.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.name in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("variant", ["collapsed", "collapsed_autoencoder"])
def test_a_collapse_is_shown(variant, pages, runs):
    codes = runs(variant).inputs().codes.mean
    assert (codes == codes[0]).all()
    text = " ".join("".join(Page(pages(variant)).text).split())
    assert "The codes have collapsed: all 60 are equal" in text
    assert "0 of 4" in text


def test_numbers_of_the_page_are_those_of_the_evaluation(runs, pages):
    evaluation = runs("plain").inputs().evaluation
    text = " ".join(" ".join(Page(pages("plain")).text).split())
    test, latents = evaluation["test"], evaluation["latents"]
    for name, unit in (
        ("distortion", "nats"),
        ("negative_elbo", "nats"),
        ("importance_weighted_nll", "nats"),
        ("psnr", "dB"),
    ):
        digits = 3 - math.floor(math.log10(test[name]))
        assert f"{test[name]:.{digits}f} {unit}" in text
    assert f"{latents['active_units']} of {latents['latent_size']}" in text
    assert "K = 4" in text
    assert "not a normalised likelihood" in text


def test_autoencoder_has_neither_rate_nor_prior(pages):
    text = " ".join(Page(pages("autoencoder")).text)
    assert "Samples without a prior" in text
    assert "no KL term" in text
    for word in ("Rate R", "βR", "Dashed circles", "nll, importance-weighted"):
        assert word not in text
    assert re.search(r"Not applicable to this run: rate R, negative ELBO", text)


def test_a_penalty_and_its_components_are_drawn(pages, runs):
    page = Page(pages("penalty"))
    history = runs("penalty").inputs().history
    names = penalty_components(history)
    assert "total_correlation" in names
    charts = json.loads(page.data)["charts"]
    assert set(names) <= set(charts)
    curves = {row["curve"] for row in charts["weighted_terms"]["spec"]["datasets"]["points"]}
    assert curves == {"αD", "βR", "penalty"}
    text = " ".join(page.text)
    assert "weighted loss = αD + βR + penalty" in text
    best = runs("penalty").inputs().best
    parts = ("weighted_distortion", "weighted_rate", "weighted_penalty")
    total = sum(best[f"validation/{part}"] for part in parts)
    assert total == pytest.approx(best["validation/weighted_loss"])
    assert penalty_components(runs("plain").inputs().history) == []
    assert "penalty" not in json.loads(Page(pages("plain")).data)["charts"]["weighted_terms"]


def test_latents_are_drawn_over_epochs(pages, runs):
    charts = json.loads(Page(pages("plain")).data)["charts"]
    points = charts["latent_rates"]["spec"]["datasets"]["points"]
    inputs = runs("plain").inputs()
    assert {point["curve"] for point in points} == {latent.name for latent in inputs.latents}
    assert len(points) == 12 * len(inputs.latents)
    for epoch, rate in zip(inputs.history["epoch"], inputs.history["validation/rate"], strict=True):
        total = sum(point["value"] for point in points if point["epoch"] == epoch)
        assert total == pytest.approx(rate, rel=1e-3)
    assert "latent_rates" not in json.loads(Page(pages("autoencoder")).data)["charts"]


def test_weight_that_varies_is_drawn(pages):
    charts = json.loads(Page(pages("two_latents")).data)["charts"]
    assert "beta" in charts
    assert "alpha" not in charts
    values = [row["value"] for row in charts["beta"]["spec"]["datasets"]["points"]]
    assert min(values) < 0.5
    assert max(values) == pytest.approx(1.0)
    assert "beta" not in json.loads(Page(pages("plain")).data)["charts"]


def test_hostile_names_are_only_text(pages, runs):
    page = Page(pages("hostile"))
    text = " ".join(page.text)
    shown = runs("hostile").inputs().label_names
    assert set(shown) == set(HOSTILE)
    for label in set(runs("hostile").inputs().codes.label) - {-1}:
        assert shown[label] in text
    assert len(page.all("script")) == 3
    assert "<" not in page.data
    # An image at the top of the folder has no label.
    assert any(
        name.startswith("test image") for name in json.loads(page.data)["planes"]["plane"]["names"]
    )


def test_same_inputs_same_bytes_in_another_process(runs, pages, tmp_path):
    run, first = runs("plain"), pages("plain").parent
    script = (
        "import sys; from pathlib import Path\n"
        "from vaebalance.pages.report.build import build\n"
        "from vaebalance.pages.report.inputs import read_inputs\n"
        "from vaebalance.settings import ReportSpec\n"
        f"spec = ReportSpec.model_validate({SPEC.model_dump()})\n"
        "build(read_inputs(Path(sys.argv[1])), spec, 0, Path(sys.argv[2]))\n"
    )
    second = tmp_path / "second"
    subprocess.run(
        [sys.executable, "-c", script, str(run.root), str(second)],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=tmp_path,
    )
    names = {path.name for path in first.iterdir()}
    assert names == {path.name for path in second.iterdir()}
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_tables_beside_the_page_have_numbers_in_full(runs, pages):
    inputs, folder = runs("plain").inputs(), pages("plain").parent
    with (folder / "latents.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["latent"] for row in rows] == [latent.name for latent in inputs.latents]
    assert [float(row["rate, nats"]) for row in rows] == [latent.rate for latent in inputs.latents]
    with (folder / "settings.csv").open(newline="", encoding="utf-8") as file:
        settings = {row["setting"]: row["value"] for row in csv.DictReader(file)}
    assert settings["model.latent_size"] == "4"


def test_cells_that_a_spreadsheet_would_run_are_text():
    header, *rows = as_csv(("a", "b"), [("=1+1", 0.1), ("@x", None), ("-", math.nan)]).splitlines()
    assert header == b"a,b"
    assert rows == [b"'=1+1,0.1", b"'@x,", b"-,"]


def test_pictures_are_vectors_too_and_their_names_text():
    image = sheet(torch.rand(2, 2, 1, 4, 4))
    found = svg(image, ["<script>alert(1)</script>", "\x00 😀 & " + "long " * 60], ["−1", "1"])
    root = ElementTree.fromstring(found)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "<script>alert(1)</script>"
    assert len(texts[1]) == 40
    assert texts[2:] == ["−1", "1"]
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_another_seed_draws_other_samples(runs, pages):
    inputs, drawn = runs("plain").inputs(), pages("plain").parent / "samples.png"
    assert samples(inputs, SPEC, 0).files["samples.png"] == drawn.read_bytes()
    assert samples(inputs, SPEC, 1).files["samples.png"] != drawn.read_bytes()


def test_report_is_replaced_whole_or_not_at_all(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("vaebalance.pages.report.build.panels", lambda *_: [])
    inputs, folder = runs("plain").inputs(), tmp_path / "report"
    page = build(inputs, SPEC, 0, folder)
    (folder / "old.png").write_text("from an earlier report")
    before = page.read_bytes()
    assert build(inputs, SPEC, 0, folder).read_bytes() == before
    made = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert made == ["index.html", "settings.csv"]

    def fails(*_: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr("vaebalance.pages.report.build.render", fails)
    with pytest.raises(OSError, match="no space"):
        build(inputs, SPEC, 0, folder)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == made
    assert page.read_bytes() == before


@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        ("artifacts/model/weights.safetensors", "train"),
        ("artifacts/history.csv", "train"),
        ("metrics/evaluation.json", "evaluate"),
        ("artifacts/evaluation/codes.npz", "evaluate"),
        ("artifacts/evaluation/rate_by_latent.csv", "evaluate"),
        ("data/prepared/dataset.json", "prepare"),
    ],
)
def test_missing_input_names_the_stage_that_makes_it(runs, missing, stage):
    path = runs("plain").root / missing
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(UserError, match=f"dvc repro.* {stage}"):
            read_inputs(runs("plain").root)
    finally:
        path.write_bytes(content)


def test_damaged_input_is_named(runs):
    path = runs("plain").root / "artifacts/history.csv"
    content = path.read_bytes()
    path.write_text("epoch,step\n", encoding="utf-8")
    try:
        with pytest.raises(UserError, match=r"history\.csv cannot be read"):
            read_inputs(runs("plain").root)
    finally:
        path.write_bytes(content)


def test_largest_settings_stay_small(runs, tmp_path):
    run = runs("hostile")
    spec = run.spec.replace(
        images=40, traversal_steps=40, manifold_steps=40, interpolations=20, scatter_images=20_000
    )
    page = build(run.inputs(), spec, 0, tmp_path / "large")
    assert page.stat().st_size < 8_000_000


def test_sections_can_be_added_without_touching_the_page(runs):
    panel = Panel("new", "New", "A new panel", "How to read it.", (Prose("a < b"),))
    html = render(summarise(runs("plain").inputs()), [panel])
    assert '<h2 id="new-title">A new panel</h2>' in html
    assert "<p>a &lt; b</p>" in html


def test_a_notebook_asks_for_the_report_of_a_folder(runs, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(runs("plain").root, root)
    shutil.copy(PARAMS, root)
    page = report(str(root))
    assert page == root / "artifacts" / "report" / "index.html"
    assert report(root, tmp_path / "elsewhere").read_bytes() == page.read_bytes()
