"""params.yaml is refused with the key's path, the value, what is allowed, the nearest spelling."""

import copy
from pathlib import Path

import pytest

from vaebalance.balancing import Fixed
from vaebalance.base.errors import UserError
from vaebalance.settings import PARAMS, Settings, TrainSettings, load, parse, read_yaml
from vaebalance.vae.likelihoods import Gaussian

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw():
    return copy.deepcopy(read_yaml(ROOT / PARAMS))


def change(raw, path, value):
    *parents, last = path.split(".")
    for part in parents:
        raw = raw[part]
    raw[last] = value


def test_the_shipped_file_is_valid_and_makes_working_objects(raw):
    settings = parse(raw)
    assert settings.balance == Fixed(alpha=1.0, beta=1.0)
    raw["likelihood"] = {"kind": "gaussian", "sigma": 0.2}
    assert parse(raw).likelihood == Gaussian(sigma=0.2)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("balance.beta", -5, ["balance.beta = -5", "greater than or equal to 0"]),
        ("balance.beta", float("nan"), ["balance.beta = nan", "finite"]),
        ("balance.beta", float("inf"), ["balance.beta = inf", "finite"]),
        ("balance.beta", "high", ["balance.beta = 'high'", "valid number"]),
        ("balance.betta", 3.0, ["balance.betta = 3.0", "did you mean 'beta'"]),
        ("balance.kind", "fixxed", ["balance.kind = 'fixxed'", "did you mean 'fixed'"]),
        ("balance", {"alpha": 1.0}, ["balance = ", "needs a kind"]),
        ("likelihood.kind", "bernouli", ["likelihood.kind", "did you mean 'bernoulli'"]),
        ("model.latent_size", 0, ["model.latent_size = 0", "greater than or equal to 1"]),
        ("model.latent_size", 2.5, ["model.latent_size = 2.5", "integer"]),
        ("model.latent_size", True, ["model.latent_size = True", "integer"]),
        ("model.architecture.hiden", [3], ["model.architecture.hiden", "did you mean 'hidden'"]),
        ("model.architecture.hidden", [64, 0], ["model.architecture.hidden.1 = 0"]),
        ("model.architecture.activation", "rellu", ["rellu", "did you mean 'relu'"]),
        ("train.epochs", -3, ["train.epochs = -3", "Passes over the training images"]),
        ("train.device", "gpu", ["train.device = 'gpu'", "cuda"]),
        ("train.learning_rate", 0, ["train.learning_rate = 0", "greater than 0"]),
        ("data.source.kind", "mnists", ["data.source.kind = 'mnists'", "did you mean 'mnist'"]),
        ("data.binarisation", "dynamik", ["data.binarisation", "did you mean 'dynamic'"]),
        ("seeed", 3, ["seeed = 3", "did you mean 'seed'"]),
        ("seed", -1, ["seed = -1"]),
        ("tune.objective.kind", "weighted_loss", ["tune.objective", "always picks the end"]),
        ("tune.storage", "sqlite:///a.db", ["an SQLite file is not supported", "null"]),
        (
            "tune.storage",
            "mysql+pymysql://me@db/s",
            ["'mysql+pymysql' is not supported", "PostgreSQL"],
        ),
        ("tune.storage", "postgresql+psycopg2://me@db/s", ["psycopg as the driver"]),
        ("tune.storage", "studies.db", ["tune.storage = 'studies.db'", "not a URL"]),
        ("tune.objective", "weighted_loss", ["tune.objective", "always picks the end"]),
        ("tune.objective.kind", "nl", ["tune.objective.kind = 'nl'", "did you mean 'nll'"]),
        ("tune.objective.samples", 0, ["tune.objective.samples = 0", "greater than"]),
        ("tune.space", {}, ["tune.space", "at least 1"]),
        ("tune.space", {"a.b": {"low": 2, "high": 1}}, ["tune.space.a.b", "(2.0) must be less"]),
        ("tune.space", {"a.b": {"lo": 1}}, ["tune.space.a.b.lo", "did you mean 'low'"]),
        ("tune.space", {"a.b": {"low": 1}}, ["tune.space.a.b", "needs low and high, or choices"]),
        ("tune.space", {"a": {"low": 0, "high": 1, "log": True}}, ["must be above 0 on a log"]),
        ("tune.space", {"a": {"choices": ["x", "x"]}}, ["at least two different values"]),
        (
            "tune.space",
            {"a": {"choices": ["x", "y"], "log": True}},
            ["choices exclude low, high and log"],
        ),
        ("tune.workers", 0, ["tune.workers = 0"]),
        ("curve.low", 0, ["curve.low = 0", "greater than 0", "Smallest β"]),
        ("curve.low", 10.0, ["curve", "low (10) must be less than high (10)"]),
        ("curve.method", "conditoned", ["curve.method", "did you mean 'conditioned'"]),
        ("curve.conditioning.kind", "film", ["curve.conditioning.kind", "did you mean 'film_mlp'"]),
        ("curve.points", 1, ["curve.points = 1", "greater than or equal to 2"]),
    ],
)
def test_a_wrong_value_is_named(raw, path, value, words):
    change(raw, path, value)
    with pytest.raises(UserError) as caught:
        parse(raw)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:se'cr et@db/s",
        "postgresql://me:se%40cr et@db/s",
        "postgresql://me@db/s?password=se'cr et",
        "sqlite://me:secret et@db",
        "me:secret et@db/s",
    ],
)
def test_a_password_in_the_file_is_refused_and_not_shown(raw, url):
    raw["tune"]["storage"] = url
    with pytest.raises(UserError, match=r"tune\.storage = .*\*\*\*") as caught:
        parse(raw)
    assert "et@" not in str(caught.value)
    assert "cr et" not in str(caught.value)
    if url.startswith("postgresql"):
        assert "~/.pgpass or PGPASSWORD" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "postgresql://db/s",
        "postgres://me@db:5432/s?sslmode=require",
        "postgresql+psycopg://me@/s?host=/run/postgresql&port=5433",
        "postgresql+psycopg:///s",
    ],
)
def test_a_url_of_postgresql_without_a_password_is_fine(raw, url):
    raw["tune"]["storage"] = url
    assert parse(raw).tune.storage == url


def test_every_wrong_key_is_named_at_once(raw):
    change(raw, "train.epochs", 0)
    change(raw, "balance.beta", -1)
    with pytest.raises(UserError, match=r"(?s)balance\.beta.*train\.epochs"):
        parse(raw)


def test_a_missing_key_is_named(raw):
    del raw["train"]["epochs"]
    with pytest.raises(UserError, match=r"train\.epochs: missing; add it"):
        parse(raw)


@pytest.mark.parametrize("section", ["seed", "data", "model", "likelihood", "balance", "train"])
def test_a_missing_section_is_named(raw, section):
    del raw[section]
    with pytest.raises(UserError, match=f"{section}: missing"):
        parse(raw)


def test_a_balance_without_a_beta_is_fine_while_no_study_runs(raw):
    raw["balance"] = {"kind": "control_vae", "rate": 6.0}
    assert parse(raw).balance.kind == "control_vae"


@pytest.mark.parametrize("kind", ["continuous_bernoulli", "discretised_logistic"])
@pytest.mark.parametrize("binarisation", ["threshold", "static", "dynamic"])
def test_a_likelihood_that_does_not_fit_the_pixels_is_refused(raw, kind, binarisation):
    """Naming both keys, and one that fits."""
    raw["likelihood"] = {"kind": kind}
    parse(raw)
    raw["data"]["binarisation"] = binarisation
    with pytest.raises(UserError) as caught:
        parse(raw)
    message = str(caught.value)
    assert f"params.yaml: likelihood.kind = '{kind}'" in message
    assert f"data.binarisation = '{binarisation}'" in message
    assert "use likelihood {kind: bernoulli}" in message
    assert "'source'" not in message  # not the whole file


def test_load_gives_a_view_and_checks_the_rest(tmp_path):
    text = (ROOT / PARAMS).read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    view = load(TrainSettings, path)
    assert view.train.epochs == load(Settings, path).train.epochs
    path.write_text(text.replace("images: 10 ", "images: 0 "), encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.images = 0"):
        load(TrainSettings, path)


def test_numbers_are_read_as_yaml_1_2(tmp_path):
    """YAML 1.1 readers take 1e-3 for a string."""
    path = tmp_path / "params.yaml"
    path.write_text("a: 1e-3\nb: off\n", encoding="utf-8")
    assert read_yaml(path) == {"a": 1e-3, "b": "off"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2\n", "duplicate key"),
        (b"\xff\xfe\x00", "YAML"),
    ],
)
def test_broken_yaml_is_named(tmp_path, text, words):
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words):
        read_yaml(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the project's root folder"):
        read_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["", "3", "[1, 2]"])
def test_a_file_of_another_shape_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError):
        load(Settings, path)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("balance", {"kind": "optimal_sigma"}, "set likelihood to {kind: gaussian}"),
        (
            "balance",
            {"kind": "free_bits", "group_size": 3},
            "does not divide model.latent_size = 8",
        ),
        ("balance", {"kind": "geco", "bits_per_dim": 3.0}, "bits/dim is defined only if"),
        ("penalty", {"kind": "total_correlation", "weight": 5.0}, "use penalty {kind: mmd"),
    ],
)
def test_sections_that_do_not_fit_together_are_refused_with_what_does(raw, section, values, words):
    raw[section] = values
    if section == "penalty":
        raw["model"]["posterior"] = "deterministic"
    with pytest.raises(UserError) as raised:
        parse(raw)
    assert words in str(raised.value)
