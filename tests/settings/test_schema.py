"""params.schema.json says of params.yaml what the settings check."""

import copy
import json
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from vaebalance.balancing import Balance
from vaebalance.base.errors import UserError
from vaebalance.settings import PARAMS, parse, read_yaml
from vaebalance.settings.schema import SCHEMA, build_schema, schema_text
from vaebalance.vae.likelihoods import Likelihood

ROOT = Path(__file__).resolve().parents[2]
VALIDATOR = Draft202012Validator(build_schema())


@pytest.fixture
def raw():
    return copy.deepcopy(read_yaml(ROOT / PARAMS))


def change(raw, path, value):
    *parents, last = path.split(".")
    for part in parents:
        raw = raw[part]
    raw[last] = value


def test_the_file_is_up_to_date():
    assert (ROOT / SCHEMA).read_text(encoding="utf-8") == schema_text(), "run `make schema`"


def test_params_yaml_names_it_for_editors():
    first = (ROOT / PARAMS).read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA}"


def test_it_is_a_valid_schema_of_the_shipped_file(raw):
    Draft202012Validator.check_schema(json.loads(schema_text()))
    assert list(VALIDATOR.iter_errors(raw)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 3),
        ("balance", {"kind": "control_vae", "rate": 6.0}),
        ("likelihood", {"kind": "gaussian", "sigma": 0.2}),
        ("penalty", {"kind": "dip_vae", "weight": 10.0, "variant": "ii"}),
        ("model.architecture", {"kind": "conv", "channels": [8]}),
        ("data.max_images", 300),
        ("train.patience", None),
        ("tune.space", {"any.path": {"choices": ["a", "b", None]}}),
        ("tune.objective", {"kind": "constrained", "rmse": 0.1}),
        ("tune.together", "auto"),
    ],
)
def test_it_accepts_what_the_settings_accept(raw, path, value):
    change(raw, path, value)
    parse(raw)
    assert list(VALIDATOR.iter_errors(raw)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", -1),
        ("seeed", 3),
        ("balance.beta", -5),
        ("balance.betta", 3.0),
        ("balance.kind", "fixxed"),
        ("balance", {"alpha": 1.0}),
        ("balance", {"kind": "fixed", "rate": 6.0}),
        ("balance", {"kind": "capacity"}),
        ("likelihood", {"kind": "bernoulli", "sigma": 0.1}),
        ("model.latent_size", 2.5),
        ("model.architecture.hidden", [64, 0]),
        ("model.architecture.activation", "rellu"),
        ("train.device", "gpu"),
        ("train.learning_rate", 0),
        ("data.validation_fraction", 1.0),
        ("tune.space", {}),
        ("tune.space", {"a.b": {"lo": 1}}),
        ("tune.study", "../x"),
        ("tune.together", "all"),
        ("curve.points", 1),
    ],
)
def test_it_refuses_what_the_settings_refuse(raw, path, value):
    change(raw, path, value)
    with pytest.raises(UserError):
        parse(raw)
    section = path.split(".")[0] if path != "seeed" else None  # an unknown key of the whole file
    assert {next(iter(e.absolute_path), None) for e in VALIDATOR.iter_errors(raw)} == {section}


def test_a_missing_section_is_an_error(raw):
    del raw["train"]
    assert "'train' is a required property" in [e.message for e in VALIDATOR.iter_errors(raw)]


@pytest.mark.parametrize(("section", "union"), [("balance", Balance), ("likelihood", Likelihood)])
def test_each_kind_is_offered_with_its_own_description(section, union):
    definitions = build_schema()["$defs"]
    members = [
        definitions[member["$ref"].rpartition("/")[2]]
        for member in build_schema()["properties"][section]["oneOf"]
    ]
    kinds = [cls.model_fields["kind"].default for cls in get_args(get_args(union)[0])]
    assert [member["properties"]["kind"]["const"] for member in members] == kinds
    described = {member["properties"]["kind"]["description"] for member in members}
    assert len(described) == len(kinds)
    assert all("kind" in member["required"] for member in members)


def test_every_key_has_a_description_in_one_piece():
    schema = build_schema()
    for name, spec in {"Settings": schema, **schema["$defs"]}.items():
        for key, value in spec["properties"].items():
            assert value.get("description", "").strip(), f"{name}.{key}"
            assert "\n" not in value["description"].replace("\n\n", "")
