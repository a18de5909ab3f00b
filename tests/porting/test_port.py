"""`vaebalance port`: theirs -> ours -> params.yaml -> theirs."""

import json
import shutil
from pathlib import Path

import pytest

from vaebalance.balancing import AbstractBalance, Fixed
from vaebalance.base.errors import UserError
from vaebalance.cli import parse
from vaebalance.data import prepare
from vaebalance.porting.conventions import CONVENTIONS
from vaebalance.porting.port import run, weights_of
from vaebalance.settings import PARAMS, Settings, load
from vaebalance.settings.params_file import edit_section
from vaebalance.vae.likelihoods import Gaussian, Rmse

ROOT = Path(__file__).resolve().parents[2]
SIZES = "--shape 3x64x64 --latents 8 --batch 64 --rmse 0.1"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a folder with the real params.yaml, and change the working directory to it."""
    shutil.copy(ROOT / PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def port(project, capsys):
    """Run a command line; return what it printed."""

    def run_line(line):
        run(parse(["port", *line.split()])[1])
        return capsys.readouterr().out

    return run_line


def section(name, knobs):
    """Put `knobs` into params.yaml."""
    text = PARAMS.read_text("utf-8")
    PARAMS.write_text(edit_section(text, name, knobs), "utf-8")


def test_theirs_as_ours(port):
    out = port("antixk 0.00025 --shape 3x64x64")
    assert "MSE + w·KL with w = 0.00025" in out
    assert "squared error averaged over pixels and images; KL summed over latents" in out
    assert "σ² = w·n / 2 = 0.00025·12288 / 2 = 1.536." in out
    words = out.split()
    assert words[words.index("likelihood.kind") + 1] == "gaussian"
    assert words[words.index("likelihood.sigma") + 1] == "1.23935"
    assert words[words.index("balance.beta") + 1] == "1"


def test_without_write_nothing_is_written(port, project):
    before = (project / PARAMS).read_bytes()
    port("antixk 0.00025 --shape 3x64x64")
    assert (project / PARAMS).read_bytes() == before
    assert [file.name for file in project.iterdir()] == [PARAMS.name]


def test_write(port, project):
    before = PARAMS.read_text("utf-8")
    out = port("antixk 0.00025 --shape 3x64x64 --write")
    settings = load(Settings)
    assert settings.likelihood == Gaussian(sigma=1.23935)
    assert settings.balance == Fixed()
    after = PARAMS.read_text("utf-8")
    assert after.count("#") == before.count("#") + 1  # the new knob's
    assert "+  sigma: 1.23935" in out
    assert "# standard deviation of a pixel" in out
    assert "dvc repro" in out
    assert "already has these values" in port("antixk 0.00025 --shape 3x64x64 --write")
    assert PARAMS.read_text("utf-8") == after
    assert [file.name for file in project.iterdir()] == [PARAMS.name]


def test_a_balance_of_another_kind_becomes_fixed(port, project):
    section("balance", {"kind": "geco", "rmse": 0.1})
    out = port("pythae-bce 4 --write")
    assert load(Settings).balance == Fixed(alpha=1.0, beta=4.0)
    assert "-  rmse: 0.1" in out


def test_what_settings_would_refuse_is_not_written(port, project):
    text = PARAMS.read_text("utf-8").replace("\nseed: 0", "\nseeed: 0")
    PARAMS.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"seeed = 0.*did you mean 'seed'"):
        port("pythae-bce 4 --write")
    assert PARAMS.read_text("utf-8") == text


def test_write_elsewhere_says_where_to_go(port, project):
    PARAMS.unlink()
    with pytest.raises(UserError, match=r"params\.yaml: no such file; run from the project's root"):
        port("pythae-bce 4 --write")


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda convention: convention.name)
def test_written_and_read_back_it_is_the_same_weight(convention, port):
    weight = convention.only or 0.7
    port(f"{convention.name} {weight} {SIZES} --write")
    found = json.loads(port(f"{SIZES} --json"))
    values = {name: row["value"] for row in found["conventions"] for name in row["names"]}
    if convention.only is None:
        assert values[convention.name] == pytest.approx(weight, rel=1e-5)
    else:
        assert convention.name not in values


def test_ours_as_theirs(port):
    section("likelihood", {"kind": "gaussian", "sigma": 0.1})
    out = port("--shape 1x28x28 --rmse 0.08")
    assert "gaussian, sigma 0.1, α = 1, β = 1; images 1x28x28, 8 latents, batches of 64" in out
    assert "α = 50" in out  # 1/(2σ²)
    assert "w = 2.551e-05" in out  # 2σ²/n
    assert "α = n/RMSE = 9800" in out
    assert "depends on" not in out


def test_what_ours_depends_on_is_asked_for(port):
    section("likelihood", {"kind": "gaussian", "sigma": 0.1})
    out = port("")
    assert "images of unknown shape" in out
    assert "α = 50" in out
    assert "antixk: depends on the image shape (--shape 3x64x64)\n" in out
    assert "alpha-rmse: depends on the image shape (--shape 3x64x64) and the RMSE" in out


def test_the_prepared_images_have_a_shape(port, project, data_spec):
    prepare(data_spec(), 0, project / "data" / "prepared")
    assert "images 1x8x8, 8 latents" in port("")


def test_an_rmse_likelihood_without_an_rmse(port):
    section("likelihood", Rmse().model_dump())
    section("balance", {"kind": "fixed", "alpha": 100.0, "beta": 2.0})
    out = port("--shape 1x28x28")
    assert "α = 50" in out
    assert "antixk: depends on the RMSE" in out


def test_a_plain_autoencoder_has_no_balance(port):
    text = PARAMS.read_text("utf-8").replace("posterior: gaussian ", "posterior: deterministic ")
    PARAMS.write_text(text, "utf-8")
    with pytest.raises(UserError, match="no KL term, so there is no balance to convert"):
        port("")


class Controller(AbstractBalance):
    """Finds its weights as it goes."""

    kind: str = "controller"

    def weights(self, state, terms):
        """Not asked for here."""
        raise NotImplementedError


def test_a_controller_has_no_weights_to_port():
    with pytest.raises(UserError, match=r"balance\.kind = 'controller' sets its weights"):
        weights_of(Controller())


def test_a_fixed_balance_has():
    assert weights_of(Fixed(alpha=2.0, beta=3.0)) == (2.0, 3.0)


def test_an_rmse_of_other_pixels(port):
    out = port("alpha-rmse 100 --pixel-span 2")
    assert "so α = 100·2 (its pixel span)." in out
    assert out.split()[out.split().index("balance.alpha") + 1] == "200"


def test_json(port):
    found = json.loads(port("bolts 0.1 --shape 3x32x32 --latents 256 --json"))
    assert found["likelihood"] == {"kind": "gaussian", "sigma": 0.774597}
    assert found["balance"] == {"kind": "fixed", "alpha": 1.0, "beta": 1.0}
    assert found["amounts_to"] == pytest.approx(0.6)
    assert "diff" not in found
    written = json.loads(port("bolts 0.1 --shape 3x32x32 --latents 256 --json --write"))
    assert "+  sigma: 0.774597" in written["diff"]


def test_the_list_names_everyone(port):
    out = port("--list")
    for convention in CONVENTIONS:
        for name in convention.names:
            assert name in out
    assert len(json.loads(port("--list --json"))) == len(CONVENTIONS)
    assert "…" not in out.replace("−1…1", "")  # nothing is cut


def test_an_unknown_convention(port):
    with pytest.raises(UserError, match=r"'bolt' is not a known convention; did you mean 'bolts'"):
        port("bolt 1")
