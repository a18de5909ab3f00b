"""The benchmarks are measured by hand; here: each starts, is fair, and the documentation agrees."""

import importlib
import json
import math
import runpy
from pathlib import Path

import pytest

from vaebalance.base.errors import UserError
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Conv, Mlp

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
RESULTS = sorted((FOLDER / "results").glob("*"))
DOCUMENTS = [*FOLDER.parent.glob("*.md"), *(FOLDER.parent / "docs").rglob("*.md")]
SHARED = ("naive", "results", "separate", "tables", "trainings")
"""Modules that measure nothing."""
ROWS = [{"case": "a", "seed": seed, "seconds": 1 + seed / 3, "nll": None} for seed in (0, 1)]


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("results")


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("tables")


@pytest.fixture
def document(results, tmp_path):
    """Write a document whose table, of the script `together`, is not yet filled."""
    results.write_result("together", ROWS, tmp_path)
    path = tmp_path / "page.md"
    path.write_text("Before.\n\n<!-- table: together -->\n<!-- /table -->\n\nAfter.\n")
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_everything_that_it_imports_is_there(script, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    assert runpy.run_path(str(script), run_name="imported")["__doc__"]


@pytest.mark.parametrize("architecture", [Mlp(hidden=(6, 5)), Conv(channels=(2, 4), hidden=(6,))])
@pytest.mark.parametrize("side", [8, 9])
def test_the_naive_run_has_the_same_nets(architecture, side):
    nets = runpy.run_path(str(FOLDER / "naive.py"))["nets"]
    channels = list(getattr(architecture, "channels", []))
    naive = nets((1, side, side), channels, list(architecture.hidden), 3)
    spec = ModelSpec(architecture=architecture, latent_size=3, posterior="gaussian")
    model = VAE(spec, Bernoulli(), (1, side, side))
    for ours, theirs in ((model.encoder, naive.encoder), (model.decoder, naive.decoder)):
        assert list(map(str, theirs)) == list(map(str, ours))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_writes_its_rows(script):
    uses = "write_result(" in script.read_text(encoding="utf-8")
    assert uses or script.stem in SHARED


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tables_agree_with_their_files(tables, path):
    agrees = tables.filled(path) == path.read_text(encoding="utf-8")
    assert agrees, "run `make tables`"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_committed_result_is_small_and_of_a_known_script(results, tables, path):
    script, result = results.script_of(path.stem), json.loads(path.read_text(encoding="utf-8"))
    assert script.exists()
    assert result["command"].startswith(f"python benchmarks/{script.name}")
    assert " /" not in result["command"]
    assert {"commit", "date", "processor", "cores", "threads", "versions"} <= result.keys()
    assert path.stat().st_size < 50_000
    assert tables.rendered(path.stem).startswith("| ")


def test_layouts_are_of_results_of_their_own_script(tables):
    for script in SCRIPTS:
        for name in tables.layouts_in(script):
            assert tables.script_of(name) == script


def test_a_part_takes_the_layout_of_the_whole(tables):
    assert tables.layout_of("curve-cuda") == tables.layout_of("curve") is not None
    assert tables.layout_of("training_step-cuda") != tables.layout_of("training_step")
    assert tables.layout_of("memory") is None


def test_what_is_written_can_be_read_and_says_where_it_comes_from(results, tmp_path):
    rows = [{"case": "a", "nll": math.pi, "gaps": [1 / 3, math.nan]}, {"case": "b", "nll": None}]
    results.write_result("together", rows, tmp_path, rounds=3)
    found = results.read_result("together", tmp_path)
    expected = [{"case": "a", "nll": 3.14159, "gaps": [0.333333, None]}, rows[1]]
    assert found["rows"] == expected
    assert found["rounds"] == 3
    assert found["threads"] >= 1
    assert found["versions"].keys() >= {"python", "torch", "numpy"}
    assert [path.name for path in tmp_path.iterdir()] == ["together.json"]


def test_a_table_is_filled_from_its_file_and_only_there(tables, document):
    text = tables.filled(document, document.parent)
    assert text.startswith("Before.\n\n<!-- table: together -->\n\n| case | seed | seconds | nll |")
    assert text.endswith(".*\n\n<!-- /table -->\n\nAfter.\n")
    assert "| a | 1 | 1.333 | – |" in text
    document.write_text(text)
    assert tables.filled(document, document.parent) == text


def test_a_table_that_was_edited_by_hand_or_whose_file_changed_differs(tables, results, document):
    text = tables.filled(document, document.parent)
    document.write_text(text.replace("1.333", "1.2"))
    assert tables.filled(document, document.parent) == text
    results.write_result("together", ROWS[:1], document.parent)
    assert tables.filled(document, document.parent) != text


def test_a_marker_without_a_file_is_refused(tables, document):
    document.write_text(document.read_text().replace("together", "memory"))
    with pytest.raises(UserError, match=r"run python benchmarks/memory\.py"):
        tables.filled(document, document.parent)


@pytest.mark.parametrize("marker", ["<!-- table: together -->", "<!-- /table -->"])
def test_a_marker_alone_is_refused(tables, document, marker):
    document.write_text(document.read_text().replace(marker, ""))
    with pytest.raises(UserError, match="lacks the other one"):
        tables.filled(document, document.parent)


def test_rows_that_agree_are_shown_as_ranges(tables, results):
    columns = {"": "{case}", "time": "{seconds:.1f} s", "nll": "{nll:.2f}"}
    grouped = tables.cells(ROWS, results.Table(columns, by=("case",)))
    assert grouped == [{"": "a", "time": "1.0 to 1.3 s", "nll": "–"}]
    alone = tables.cells(ROWS, results.Table(columns))
    assert [row["time"] for row in alone] == ["1.0 s", "1.3 s"]
