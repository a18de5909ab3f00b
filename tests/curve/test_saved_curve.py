"""A saved curve loads unchanged, or the error says what is wrong."""

import json

import pytest
import torch

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import make_provenance, read_provenance
from vaebalance.curve.saved_curve import load_curve, read_rows, save
from vaebalance.curve.trace import trace

PROVENANCE = make_provenance({"seed": 0}, {"digest": "d", "name": "digits"}, "code")


@pytest.fixture(params=["conditioned", "continuation"])
def curve(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def rows(curve, digits, curve_settings):
    spec = curve_settings().evaluate.replace(sample_images=0)
    return list(trace(curve, curve.betas(2), digits, "validation", spec, 0))


def test_it_comes_back_whole(tmp_path, curve, rows, digits):
    folder = tmp_path / "curve"
    save(folder, curve, rows, PROVENANCE)
    loaded = load_curve(folder)
    x = digits.images("test")[:5] / 255
    assert type(loaded) is type(curve)
    assert loaded.betas(5) == curve.betas(5)
    for beta in curve.betas(5):
        before, after = curve.model_at(beta), loaded.model_at(beta)
        assert after.spec == before.spec
        assert torch.equal(after.encode(x).mean, before.encode(x).mean)
        z = torch.randn(5, 4)
        assert torch.equal(after.decode(z).mean, before.decode(z).mean)
    assert read_rows(folder) == rows
    assert read_provenance(folder) == PROVENANCE


def test_the_same_curve_writes_the_same_bytes(tmp_path, curve, rows):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        save(folder, curve, rows, PROVENANCE)
    first, second = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
    assert first == second
    assert sorted(first) == ["curve.csv", "curve.json", "provenance.json", "weights.safetensors"]


def test_a_failed_save_leaves_what_was_there(tmp_path, conditioned, monkeypatch):
    folder = tmp_path / "curve"
    save(folder, conditioned, [], PROVENANCE)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("vaebalance.curve.saved_curve.write_json", fail)
    with pytest.raises(OSError, match="no space"):
        save(folder, conditioned, [], PROVENANCE)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["curve"]


def test_a_missing_curve_says_what_to_run(tmp_path):
    for read in (load_curve, read_rows):
        with pytest.raises(UserError, match=r"train one with `vaebalance curve`"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.safetensors", b"{}"),
        ("curve.json", b"{}"),
        ("curve.json", b"["),
        ("curve.json", b"[]"),
    ],
)
def test_damage_is_named(tmp_path, conditioned, name, content):
    save(tmp_path / "curve", conditioned, [], PROVENANCE)
    (tmp_path / "curve" / name).write_bytes(content)
    with pytest.raises(UserError, match="do not fit together"):
        load_curve(tmp_path / "curve")


def test_weights_of_another_curve_are_refused(tmp_path, conditioned, continuation):
    save(tmp_path / "a", conditioned, [], PROVENANCE)
    save(tmp_path / "b", continuation, [], PROVENANCE)
    weights = (tmp_path / "b" / "weights.safetensors").read_bytes()
    (tmp_path / "a" / "weights.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match="do not fit together"):
        load_curve(tmp_path / "a")


def test_a_damaged_table_is_named(tmp_path, conditioned, rows):
    save(tmp_path / "curve", conditioned, rows, PROVENANCE)
    table = tmp_path / "curve" / "curve.csv"
    whole = table.read_text()
    table.write_text(whole.replace(str(rows[0].rate), "much"))
    with pytest.raises(UserError, match=r"curve\.csv: not readable"):
        read_rows(tmp_path / "curve")
    table.write_text(whole.replace("rate", "speed"))
    with pytest.raises(UserError, match=r"curve\.csv: not readable"):
        read_rows(tmp_path / "curve")


def test_the_description_is_plain(tmp_path, conditioned):
    save(tmp_path / "curve", conditioned, [], PROVENANCE)
    content = json.loads((tmp_path / "curve" / "curve.json").read_text())
    assert content["conditioning"] == {"kind": "film_spline", "knots": 8}
    assert (content["low"], content["high"]) == (0.01, 10.0)
